//! Images: one pull for all who want it.
