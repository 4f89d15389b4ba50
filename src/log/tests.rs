//! The algorithm as a whole, driven at random without tasks.

mod interleaving;
mod model;
mod told;
