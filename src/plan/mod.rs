//! What to do about one resource: a pure function of what is desired and what is observed.
