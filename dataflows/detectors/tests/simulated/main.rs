//! The rules over seeded weeks: what they find, how soon, and how often they are wrong. The figures are printed.

mod canary;
mod forecast;
mod leak;
mod random;
mod traffic;
