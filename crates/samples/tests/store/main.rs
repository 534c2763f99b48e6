//! The store from outside: through its public interface and, for damage, its files.

mod concurrency;
mod damage;
mod limits;
mod model;
mod reading;
mod sealing;
mod world;
