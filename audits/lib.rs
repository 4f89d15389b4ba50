//! What the audits share.

pub mod outcome;
