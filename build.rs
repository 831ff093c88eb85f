//! Rebuilds the crate when a migration is added: `sqlx::migrate!` embeds the folder, but cargo does not see new files.

#[expect(clippy::print_stdout, reason = "cargo reads a build script's standard output")]
fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
