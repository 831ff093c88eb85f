//! The application itself: what happens when a message comes.
//!
//! Two rooms form the kernel and are the only ones that touch the actor framework: [`ask`] (how a message reaches an
//! actor and how the answer comes back) and [`supervisor`] (how an actor lives, dies and is built again).

pub mod accounts;
pub mod ask;
pub mod auth;
pub mod billing;
pub mod billing_meter;
pub mod config_watcher;
pub mod cron;
pub mod mailer;
pub mod onboarding;
pub mod scim;
pub mod scribe;
pub mod sealer;
pub mod secrets;
pub mod sessions;
pub mod sso;
pub mod stripe;
pub mod subscriptions;
pub mod supervisor;
pub mod tenant;
pub mod tenants_in_turn;
pub mod usage_feed;
