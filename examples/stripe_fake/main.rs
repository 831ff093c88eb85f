//! A Stripe for demonstrations, without a network: `cargo run --example stripe_fake -- --webhooks-to 127.0.0.1:3000`.
//!
//! Give the server `stripe.api_base = "http://127.0.0.1:12111"`, `stripe.secret_key = "sk_test_fake"` and
//! `stripe.webhook_secret = "whsec_fake"`. Checkout pages are served here, and time passes with
//! `curl -d advance_s=2678400 http://127.0.0.1:12111/_fake/clock`; what else can be said to it is at the head of `control.rs`.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program for tests and demonstrations"
)]

#[expect(dead_code, unused_imports, reason = "tests use the rest")]
mod fake;

use clap::Parser;

use fake::{Fake, Postman};

#[derive(Debug, Parser)]
struct Arguments {
    /// Port on the loopback interface.
    #[arg(long, default_value_t = 12_111)]
    port: u16,
    /// `host:port` that events are sent to; none = they are kept.
    #[arg(long)]
    webhooks_to: Option<String>,
    /// Host name that the server is called by.
    #[arg(long, default_value = "localhost")]
    host: String,
    /// Signing secret of the events.
    #[arg(long, default_value = "whsec_fake")]
    webhook_secret: String,
}

fn main() {
    let arguments = Arguments::parse();
    let fake = Fake::start(arguments.port);
    if let Some(to) = arguments.webhooks_to {
        Postman { to, host: arguments.host, secret: arguments.webhook_secret }.start(fake.shared());
    }
    println!("a fake Stripe on {}", fake.url());
    loop {
        std::thread::park();
    }
}
