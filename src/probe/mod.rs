//! Probes: asking containers whether they are well.
