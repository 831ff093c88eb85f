//! The application itself: what happens when a message comes.
