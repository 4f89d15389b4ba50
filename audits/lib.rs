//! What the audits share.

pub mod flags;
pub mod outcome;
