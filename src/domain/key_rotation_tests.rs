use proptest::prelude::*;

use super::*;

const POLICY: (u32, u64, u64) = (30, 900, 300);

fn policy() -> RotationPolicy {
    let (days, prepublish_s, ttl_s) = POLICY;
    RotationPolicy::new(days, prepublish_s, ttl_s)
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("a time")
}

/// Does what is due, as the database would.
fn apply(keys: &mut Vec<KeyTimes>, step: RotationStep, now: DateTime<Utc>, n: &mut u32) {
    match step {
        RotationStep::Publish => {
            *n += 1;
            keys.push(KeyTimes {
                kid: format!("key-{n}"),
                state: KeyState::Pending,
                created_at: now,
                activated_at: None,
                retired_at: None,
            });
        }
        RotationStep::Activate { kid } => {
            for key in keys.iter_mut() {
                if key.state == KeyState::Active {
                    (key.state, key.retired_at) = (KeyState::Retiring, Some(now));
                }
                if key.kid == kid {
                    (key.state, key.activated_at) = (KeyState::Active, Some(now));
                }
            }
        }
        RotationStep::Remove { kid } => keys.retain(|key| key.kid != kid),
    }
}

fn onboarded() -> Vec<KeyTimes> {
    vec![KeyTimes {
        kid: "key-0".to_owned(),
        state: KeyState::Active,
        created_at: at(0),
        activated_at: Some(at(0)),
        retired_at: None,
    }]
}

#[test]
fn a_life_goes_through_every_state_in_order() {
    let (mut keys, mut n, mut now) = (onboarded(), 0, at(0));
    let mut seen = Vec::new();
    for _ in 0..7 {
        assert_eq!(due(&keys, &policy(), now), []);
        let next = next_due(&keys, &policy(), now);
        assert_eq!(due(&keys, &policy(), next - TimeDelta::milliseconds(1)), []);
        let steps = due(&keys, &policy(), next);
        assert!(!steps.is_empty());
        for step in steps {
            seen.push((next - now, step.clone()));
            apply(&mut keys, step, next, &mut n);
        }
        now = next;
    }
    let kid = |n: u32| format!("key-{n}");
    let steps: Vec<_> = seen.iter().map(|(_, step)| step.clone()).collect();
    let round = |n: u32| {
        [RotationStep::Publish, RotationStep::Activate { kid: kid(n + 1) }, RotationStep::Remove { kid: kid(n) }]
    };
    assert_eq!(steps[..6], [round(0), round(1)].concat());
    let (month, tenth) = (TimeDelta::days(30), TimeDelta::days(3));
    let first = seen[0].0 + TimeDelta::seconds(900);
    assert!(first >= month - tenth && first <= month + tenth, "{first}");
    assert_eq!(seen[1].0, TimeDelta::seconds(900), "published before it signs");
    assert_eq!(seen[2].0, TimeDelta::seconds(300 + 5 + 300), "as long as its tokens may live");
}

#[test]
fn after_a_long_rest_a_new_key_is_still_published_before_it_signs() {
    let (mut keys, mut n) = (onboarded(), 0);
    let late = at(400 * 86_400);
    assert_eq!(due(&keys, &policy(), late), [RotationStep::Publish]);
    apply(&mut keys, RotationStep::Publish, late, &mut n);
    assert_eq!(due(&keys, &policy(), late), []);
    assert_eq!(next_due(&keys, &policy(), late), late + TimeDelta::seconds(900));
}

#[test]
fn a_tenant_without_an_active_key_does_not_wait() {
    let (mut keys, mut n) = (Vec::new(), 0);
    assert_eq!(due(&keys, &policy(), at(0)), [RotationStep::Publish]);
    apply(&mut keys, RotationStep::Publish, at(0), &mut n);
    assert_eq!(due(&keys, &policy(), at(0)), [RotationStep::Activate { kid: "key-1".to_owned() }]);
}

#[test]
fn keys_of_one_day_do_not_end_on_one_day() {
    let lives: std::collections::BTreeSet<_> = (0..100).map(|n| policy().active_life(&format!("{n:016x}"))).collect();
    assert!(lives.len() > 20, "{lives:?}");
}

proptest! {
    /// Whenever the rotator looks, also late and seldom: no token that is alive has lost its key, and no key signs that a
    /// verifier with a JWKS of the allowed age does not know.
    #[test]
    fn no_valid_token_ever_loses_its_key(pauses in prop::collection::vec(1i64..2_000_000, 1..60)) {
        let (mut keys, mut n, mut now) = (onboarded(), 0, at(0));
        let mut signed: Vec<(String, DateTime<Utc>)> = Vec::new();
        let token_life = TimeDelta::seconds(300 + LEEWAY_S);
        for pause in pauses {
            // Up to this moment the active key has signed.
            now += TimeDelta::seconds(pause);
            let active: Vec<_> = keys.iter().filter(|key| key.state == KeyState::Active).collect();
            prop_assert_eq!(active.len(), 1);
            signed.push((active[0].kid.clone(), now));
            for step in due(&keys, &policy(), now) {
                if let RotationStep::Activate { kid } = &step {
                    let pending = keys.iter().find(|key| key.kid == *kid).expect("there");
                    prop_assert!(now - pending.created_at >= TimeDelta::seconds(JWKS_MAX_AGE_S));
                }
                apply(&mut keys, step, now, &mut n);
            }
            for (kid, signed_at) in &signed {
                prop_assert!(now - *signed_at > token_life || keys.iter().any(|key| key.kid == *kid));
            }
            prop_assert!(next_due(&keys, &policy(), now) > now);
        }
    }
}
