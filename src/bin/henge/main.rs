//! henge
fn main() {}
