//! Executes the first stage of a plan, step by step. Decides nothing.
