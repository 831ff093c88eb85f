//! Throttling of sign-ins, in a way that no stranger can use to lock somebody out.
//!
//! Failures are counted for each account from each network, and for the account over all networks. The first few cost nothing; then
//! each is followed by a delay for that account from that network, doubling. Over all networks there is a ceiling (NIST SP 800-63B-4
//! §3.2.2 allows 100 failures in a row), beyond which only networks go on from which the user has signed in before. An account is a
//! hash of an address: whether anybody has it makes no difference.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aws_lc_rs::digest;

use super::ids::TenantId;

/// Failures without a delay.
pub const FREE_FAILURES: i32 = 5;
/// Failures over all networks after which only known ones go on.
pub const CEILING: i32 = 100;
/// Failures are forgotten after so many seconds without another.
pub const FORGET_AFTER_S: i64 = 3_600;
/// Stands for all networks.
pub const ALL_NETWORKS: &str = "*";
const FIRST_DELAY_S: i64 = 1;
const LONGEST_DELAY_S: i64 = 900;

/// Failures in a row, and how long ago the last one was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Failures {
    /// How many.
    pub n: i32,
    /// Seconds since the last one.
    pub age_s: i64,
}

/// Whether an attempt may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Free,
    /// It may, if nobody else makes it at the same time: the count must still be `n`.
    One {
        /// Failures so far.
        n: i32,
    },
    /// Not before so many seconds have passed.
    Wait {
        /// At least 1.
        seconds: i64,
    },
    /// Only if the user is known in this network; else not before so many seconds have passed.
    KnownOnly {
        /// At least 1.
        seconds: i64,
        /// Failures from this network so far, if a delay for it is over.
        n: Option<i32>,
    },
}

/// Seconds after the `n`th failure in a row from one network before another attempt.
#[must_use]
pub fn delay_s(n: i32) -> i64 {
    match u32::try_from(n - FREE_FAILURES) {
        Ok(doublings) => (FIRST_DELAY_S << doublings.min(20)).min(LONGEST_DELAY_S),
        Err(_fewer) => 0,
    }
}

/// Decides on an attempt from what is remembered of failures from its network and from all.
#[must_use]
pub fn decide(here: Failures, everywhere: Failures) -> Verdict {
    let delay_s = delay_s(here.n);
    let left_s = delay_s - here.age_s;
    if delay_s > 0 && left_s > 0 {
        return Verdict::Wait { seconds: left_s };
    }
    let n = (here.n >= FREE_FAILURES).then_some(here.n);
    if everywhere.n >= CEILING {
        return Verdict::KnownOnly { seconds: (FORGET_AFTER_S - everywhere.age_s).max(1), n };
    }
    n.map_or(Verdict::Free, |n| Verdict::One { n })
}

/// The network of an address: IPv4 /24, IPv6 /48. What has no address is in one network together.
#[must_use]
pub fn network(ip: Option<IpAddr>) -> String {
    match ip.map(|ip| ip.to_canonical()) {
        None => "unknown".to_owned(),
        Some(IpAddr::V4(ip)) => format!("{}/24", Ipv4Addr::from(u32::from(ip) & 0xffff_ff00)),
        Some(IpAddr::V6(ip)) => format!("{}/48", Ipv6Addr::from(u128::from(ip) & !(u128::MAX >> 48))),
    }
}

/// The name of an account among the failures: a hash of the tenant and the address as it is compared. `norm` may be anything that
/// somebody typed.
#[must_use]
pub fn account(tenant: TenantId, norm: &str) -> Vec<u8> {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(tenant.uuid().as_bytes());
    context.update(norm.as_bytes());
    context.finish().as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(n: i32, age_s: i64) -> Failures {
        Failures { n, age_s }
    }

    const NONE: Failures = Failures { n: 0, age_s: 0 };

    #[test]
    fn delays_begin_after_five_failures_and_double_up_to_a_quarter_of_an_hour() {
        let delays: Vec<_> = (0..=16).map(delay_s).collect();
        assert_eq!(delays, [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
        assert_eq!(delay_s(i32::MAX), 900);
    }

    #[test]
    fn an_attempt_waits_for_its_own_delay_only() {
        assert_eq!(decide(NONE, NONE), Verdict::Free);
        assert_eq!(decide(failures(4, 0), failures(4, 0)), Verdict::Free);
        assert_eq!(decide(failures(7, 1), failures(7, 1)), Verdict::Wait { seconds: 3 });
        assert_eq!(decide(failures(7, 4), failures(7, 4)), Verdict::One { n: 7 });
        assert_eq!(decide(NONE, failures(99, 0)), Verdict::Free, "somebody else's failures elsewhere");
    }

    #[test]
    fn at_the_ceiling_known_networks_go_on() {
        assert_eq!(decide(NONE, failures(100, 600)), Verdict::KnownOnly { seconds: 3_000, n: None });
        assert_eq!(decide(failures(6, 9), failures(100, 600)), Verdict::KnownOnly { seconds: 3_000, n: Some(6) });
        assert_eq!(decide(failures(6, 0), failures(100, 0)), Verdict::Wait { seconds: 2 }, "known or not");
    }

    #[test]
    fn neighbours_share_a_network() {
        let network = |text: &str| network(text.parse().ok());
        assert_eq!(network("192.0.2.7"), "192.0.2.0/24");
        assert_eq!(network("::ffff:192.0.2.9"), "192.0.2.0/24", "IPv4 in IPv6 is IPv4");
        assert_eq!(network("2001:db8:1:2::3"), "2001:db8:1::/48");
        assert_eq!(network("x"), "unknown");
    }
}
