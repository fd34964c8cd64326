//! One generic store for desired, observed and status.
