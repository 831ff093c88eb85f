use proptest::prelude::*;

use super::*;
use crate::domain::catalogue::AddOn;
use crate::domain::subscription::Scheduled;

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).expect("a time").to_utc()
}

fn figures(price_minor: i64) -> PlanFigures {
    PlanFigures { price_minor, currency: "USD".to_owned(), ..PlanFigures::default() }
}

fn on(plan: &str, price_minor: i64) -> Subscription {
    Subscription::implied(plan, 1, figures(price_minor), DateTime::UNIX_EPOCH)
}

fn terms(plan: &str, price_minor: i64) -> Terms {
    Terms { plan: plan.to_owned(), version: 1, price_minor, add_ons: Vec::new() }
}

fn costs(change: &Change) -> (i64, i64) {
    (change.credit_minor, change.charge_minor)
}

const MIDDLE: &str = "2026-11-16T00:00:00Z";

#[test]
fn more_holds_at_once_and_less_from_the_end_of_the_period() {
    let basic = on("basic", 4_900);
    assert_eq!(step(&basic, &terms("pro", 19_900), Timing::ByPrice, at(MIDDLE)), Step::Now);
    assert_eq!(step(&basic, &terms("other", 4_900), Timing::ByPrice, at(MIDDLE)), Step::Now);
    let later = Step::Later(at("2026-12-01T00:00:00Z"));
    assert_eq!(step(&basic, &terms("free", 0), Timing::ByPrice, at(MIDDLE)), later);
    assert_eq!(step(&basic, &terms("free", 0), Timing::AtOnce, at(MIDDLE)), Step::Now);
    assert_eq!(step(&basic, &basic.terms, Timing::ByPrice, at(MIDDLE)), Step::Nothing);
    assert_eq!(step(&basic, &basic.terms, Timing::AtOnce, at(MIDDLE)), Step::Nothing);
}

#[test]
fn a_wish_is_not_granted_twice_and_can_be_taken_back() {
    let scheduled = Scheduled { at: at("2026-12-01T00:00:00Z"), terms: terms("free", 0), is_end: false };
    let basic = Subscription { scheduled: Some(scheduled.clone()), ..on("basic", 4_900) };
    assert_eq!(step(&basic, &terms("free", 0), Timing::ByPrice, at(MIDDLE)), Step::Nothing);
    assert_eq!(step(&basic, &basic.terms, Timing::ByPrice, at(MIDDLE)), Step::Keep);
    // Whoever is about to leave, and chooses a smaller plan instead, stays.
    let leaving = Subscription { scheduled: Some(Scheduled { is_end: true, ..scheduled }), ..on("basic", 4_900) };
    let later = Step::Later(at("2026-12-01T00:00:00Z"));
    assert_eq!(step(&leaving, &terms("free", 0), Timing::ByPrice, at(MIDDLE)), later);
}

#[test]
fn half_a_month_of_the_old_plan_is_given_back_and_half_of_the_new_one_paid() {
    let change = change_now(&on("basic", 4_900), terms("pro", 19_900), figures(19_900), at(MIDDLE)).expect("small");
    assert_eq!(costs(&change), (2_450, 9_950));
    assert_eq!((change.after.terms.plan.as_str(), change.after.status), ("pro", SubscriptionStatus::Active));
    let change = change_now(&on("free", 0), terms("basic", 4_900), figures(4_900), at(MIDDLE)).expect("small");
    assert_eq!(costs(&change), (0, 2_450));
}

#[test]
fn at_the_first_instant_of_a_period_its_own_bill_has_it_all() {
    let start = at("2026-11-01T00:00:00Z");
    let change = change_now(&on("basic", 4_900), terms("pro", 19_900), figures(19_900), start).expect("small");
    assert_eq!(costs(&change), (0, 0));
}

#[test]
fn add_ons_are_a_part_of_the_price() {
    let mut wanted = terms("basic", 4_900);
    wanted.add_ons.push(AddOn { name: "crm".to_owned(), price_minor: 1_900 });
    let change = change_now(&on("basic", 4_900), wanted, figures(4_900), at(MIDDLE)).expect("small");
    assert_eq!(costs(&change), (2_450, 3_400));
}

#[test]
fn a_trial_costs_nothing_until_it_ends_and_comes_once() {
    let trial = PlanFigures { trial_days: 14, ..figures(4_900) };
    let begun =
        change_now(&on("free", 0), terms("basic", 4_900), trial.clone(), at("2026-11-10T00:00:00Z")).expect("small");
    assert_eq!((costs(&begun), begun.after.status), ((0, 0), SubscriptionStatus::Trialing));
    assert_eq!(begun.after.trial_end, Some(at("2026-11-24T00:00:00Z")));
    // Another plan does not begin it anew.
    let moved =
        change_now(&begun.after, terms("pro", 19_900), trial.clone(), at("2026-11-20T00:00:00Z")).expect("small");
    assert_eq!((costs(&moved), moved.after.trial_end), ((0, 0), begun.after.trial_end));
    let over = end_trial(&begun.after, at("2026-11-24T00:00:00Z")).expect("small");
    assert_eq!((costs(&over), over.after.status), ((0, 1_143), SubscriptionStatus::Active), "7 of 30 days");
    let left = change_now(&begun.after, terms("free", 0), figures(0), at("2026-11-12T00:00:00Z")).expect("small");
    assert_eq!((costs(&left), left.after.status), ((0, 0), SubscriptionStatus::Active));
    let again = change_now(&left.after, terms("basic", 4_900), trial, at("2026-11-16T00:00:00Z")).expect("small");
    assert_eq!((costs(&again), again.after.status), ((0, 2_450), SubscriptionStatus::Active), "no second one");
}

#[test]
fn whoever_pays_already_gets_no_trial() {
    let trial = PlanFigures { trial_days: 14, ..figures(19_900) };
    let change = change_now(&on("basic", 4_900), terms("pro", 19_900), trial, at(MIDDLE)).expect("small");
    assert_eq!((costs(&change), change.after.is_trial), ((2_450, 9_950), false));
}

#[test]
fn an_end_leaves_the_rest_and_a_new_beginning_is_paid() {
    let ended = end(&on("basic", 4_900), terms("free", 0), figures(0), at(MIDDLE));
    assert_eq!((ended.status, ended.canceled_at), (SubscriptionStatus::Canceled, Some(at(MIDDLE))));
    assert_eq!(step(&ended, &terms("free", 0), Timing::ByPrice, at(MIDDLE)), Step::Now, "active again");
    let again = change_now(&ended, terms("basic", 4_900), figures(4_900), at(MIDDLE)).expect("small");
    assert_eq!((costs(&again), again.after.canceled_at), ((0, 2_450), None));
}

#[test]
fn a_change_pays_no_debt() {
    let overdue = Subscription { status: SubscriptionStatus::Restricted, ..on("basic", 4_900) };
    assert_eq!(end(&overdue, terms("free", 0), figures(0), at(MIDDLE)).status, SubscriptionStatus::Restricted);
    let less = begin_scheduled(&overdue, terms("free", 0), figures(0));
    assert_eq!(less.status, SubscriptionStatus::Restricted);
}

fn net(change: &Change) -> i64 {
    change.charge_minor - change.credit_minor
}

proptest! {
    #[test]
    fn there_and_back_at_one_instant_costs_nothing(second in 1_i64..2_592_000, old in 1_i64..10_000_000, new in 1_i64..10_000_000) {
        let at = at("2026-11-01T00:00:00Z") + TimeDelta::seconds(second);
        let there = change_now(&on("a", old), terms("b", new), figures(new), at).expect("small");
        let back = change_now(&there.after, terms("a", old), figures(old), at).expect("small");
        prop_assert_eq!(net(&there) + net(&back), 0);
        prop_assert_eq!(&back.after.terms, &terms("a", old));
    }

    #[test]
    fn more_is_never_paid_back_and_nothing_costs_more_than_the_whole(
        second in 0_i64..2_592_000, old in 0_i64..10_000_000, more in 0_i64..10_000_000
    ) {
        let at = at("2026-11-01T00:00:00Z") + TimeDelta::seconds(second);
        let change = change_now(&on("a", old), terms("b", old + more), figures(old + more), at).expect("small");
        prop_assert!(net(&change) >= 0);
        prop_assert!(change.charge_minor <= old + more && change.credit_minor <= old);
    }

    #[test]
    fn however_often_it_is_changed_the_month_costs_no_more_than_its_dearest_plan(
        changes in prop::collection::vec((1_i64..2_592_000, 1_i64..1_000_000), 1..8)
    ) {
        let mut changes = changes;
        changes.sort_unstable();
        let (mut now, mut paid, mut dearest) = (on("a", 5_000), 5_000, 5_000);
        let n = i64::try_from(changes.len()).expect("few");
        for (second, price) in changes {
            let at = at("2026-11-01T00:00:00Z") + TimeDelta::seconds(second);
            let change = change_now(&now, terms("b", price), figures(price), at).expect("small");
            paid += net(&change);
            dearest = dearest.max(price);
            now = change.after;
        }
        // Each of the two roundings of a change is off by half a unit at most.
        prop_assert!((-n..=dearest + n).contains(&paid), "{paid}");
    }
}
