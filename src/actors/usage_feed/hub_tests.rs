use uuid::Uuid;

use super::*;

const TENANT: u128 = 7;

fn hub(max_per_tenant: usize, max_total: usize, queue: usize) -> Arc<Hub> {
    Arc::new(Hub::new(HubLimits { max_per_tenant, max_total, queue }))
}

fn tenant(n: u128) -> TenantId {
    Uuid::from_u128(n).into()
}

fn events(ids: impl IntoIterator<Item = i64>) -> Vec<(TenantId, News)> {
    let event = |id| StreamEvent { id, kind: "plan.changed".to_owned(), payload: Value::Null, at: clock::now() };
    ids.into_iter().map(|id| (tenant(TENANT), News::Event(event(id)))).collect()
}

fn ids(notices: &mut Receiver<Notice>) -> Vec<i64> {
    let mut ids = Vec::new();
    while let Ok(notice) = notices.try_recv() {
        match notice {
            Notice::Event { id, .. } => ids.push(id),
            Notice::Usage(_) => panic!("no counter was changed"),
        }
    }
    ids
}

fn counter(period: Period, revision: i64) -> Vec<(TenantId, News)> {
    let counter = Counter {
        meter: crate::domain::meter::MeterName::parse("ai_tokens").unwrap(),
        period_start: period.start,
        revision,
        used: revision * 10,
        reserved: 0,
        resumed_version: None,
    };
    vec![(tenant(TENANT), News::Counter(counter))]
}

fn revisions(notices: &mut Receiver<Notice>) -> Vec<i64> {
    let mut revisions = Vec::new();
    while let Ok(notice) = notices.try_recv() {
        match notice {
            Notice::Usage(counter) => revisions.push(counter.revision),
            Notice::Event { .. } => panic!("no event was written"),
        }
    }
    revisions
}

fn present() -> Period {
    Period::containing(chrono::DateTime::from_timestamp(0, 0).unwrap())
}

fn ask(hub: &Hub) -> Vec<Question> {
    hub.questions(present())
}

#[test]
fn what_lies_after_the_lowest_cursor_is_asked_for_and_nobody_is_told_twice() {
    let hub = hub(9, 9, 9);
    let (mut a, mut b) = (hub.enter(tenant(TENANT)).unwrap(), hub.enter(tenant(TENANT)).unwrap());
    assert!(ask(&hub).is_empty(), "nobody listens yet");
    let (mut of_a, mut of_b) = (a.listen(3, present()), b.listen(5, present()));
    let asked = ask(&hub);
    assert_eq!(asked.iter().map(|question| question.after).collect::<Vec<_>>(), [3]);
    hub.hand_out(&asked, events(4..=6));
    hub.hand_out(&asked, events(4..=6));
    assert_eq!((ids(&mut of_a), ids(&mut of_b)), (vec![4, 5, 6], vec![6]));
}

#[test]
fn a_listener_that_came_after_the_question_is_not_moved_past_what_was_not_asked_for() {
    let hub = hub(9, 9, 99);
    let mut early = hub.enter(tenant(TENANT)).unwrap();
    let mut of_early = early.listen(10, present());
    let asked = ask(&hub);
    let mut late = hub.enter(tenant(TENANT)).unwrap();
    let mut of_late = late.listen(2, present());
    hub.hand_out(&asked, events(11..=12));
    assert_eq!((ids(&mut of_early), ids(&mut of_late)), (vec![11, 12], vec![]));
    hub.hand_out(&ask(&hub), events(3..=12));
    assert_eq!((ids(&mut of_early), ids(&mut of_late)), (vec![], (3..=12).collect()));
}

#[test]
fn a_listener_begins_with_the_counters_that_were_handed_out_before_it_listened() {
    let hub = hub(9, 9, 1);
    // It has looked at what was used, and does not listen yet.
    let (mut early, mut late) = (hub.enter(tenant(TENANT)).unwrap(), hub.enter(tenant(TENANT)).unwrap());
    let mut of_early = early.listen(0, present());
    hub.hand_out(&ask(&hub), counter(present(), 6));
    assert_eq!(revisions(&mut of_early), [6]);
    let mut of_late = late.listen(0, present());
    assert_eq!(ask(&hub)[0].known, serde_json::json!({ "ai_tokens": 6 }), "nobody asks for it again");
    hub.hand_out(&ask(&hub), events([1]));
    assert!(matches!(of_late.try_recv(), Ok(Notice::Usage(counter)) if counter.revision == 6));
    assert_eq!((ids(&mut of_late), ids(&mut of_early)), (vec![1], vec![1]), "it takes no event's room");
}

#[test]
fn a_counter_of_a_month_that_is_over_is_no_news_for_a_new_listener() {
    let last = present().previous();
    let hub = hub(9, 9, 9);
    let (mut early, mut late) = (hub.enter(tenant(TENANT)).unwrap(), hub.enter(tenant(TENANT)).unwrap());
    let mut of_early = early.listen(0, present());
    hub.hand_out(&ask(&hub), counter(last, 6));
    assert_eq!(revisions(&mut of_early), [6]);
    assert_eq!(revisions(&mut late.listen(0, present())), [] as [i64; 0]);
}

#[test]
fn what_is_handed_out_at_once_leaves_room_for_as_much_again() {
    for (queue, page) in [(64, 32), (100_000, 200), (2, 1), (1, 1)] {
        let hub = hub(9, 9, queue);
        assert_eq!(hub.page(), page, "{queue}");
        let mut place = hub.enter(tenant(TENANT)).unwrap();
        let mut notices = place.listen(0, present());
        hub.hand_out(&ask(&hub), events(1..=page));
        assert_eq!(ids(&mut notices), (1..=page).collect::<Vec<_>>());
        assert!(!notices.is_closed(), "{queue}");
    }
}

#[test]
fn a_listener_that_does_not_read_is_dropped_and_the_others_are_not() {
    let hub = hub(9, 9, 2);
    let (mut slow, mut quick) = (hub.enter(tenant(TENANT)).unwrap(), hub.enter(tenant(TENANT)).unwrap());
    let (mut of_slow, mut of_quick) = (slow.listen(0, present()), quick.listen(0, present()));
    for id in 1..=5 {
        hub.hand_out(&ask(&hub), events([id]));
        assert_eq!(ids(&mut of_quick), [id]);
    }
    assert_eq!(ids(&mut of_slow), [1, 2]);
    assert!(of_slow.is_closed(), "it learns that it was dropped");
    assert_eq!(ask(&hub).len(), 1);
}

#[test]
fn places_are_counted_for_each_tenant_and_altogether_and_given_back() {
    let hub = hub(2, 3, 1);
    let first = hub.enter(tenant(1)).unwrap();
    let _second = hub.enter(tenant(1)).unwrap();
    assert_eq!(hub.enter(tenant(1)).unwrap_err(), HubFull::Tenant);
    let _third = hub.enter(tenant(2)).unwrap();
    assert_eq!(hub.enter(tenant(3)).unwrap_err(), HubFull::Total);
    drop(first);
    let again = hub.enter(tenant(1)).unwrap();
    assert_eq!(hub.n_open(), 3);
    drop(again);
    assert_eq!(hub.n_open(), 2);
}

#[test]
fn the_last_fifth_is_for_tenants_with_few_streams() {
    let hub = hub(10, 10, 1);
    let mut places: Vec<Place> = (0..8).map(|_| hub.enter(tenant(1)).unwrap()).collect();
    assert_eq!(hub.enter(tenant(1)).unwrap_err(), HubFull::Total, "it has many, and 8 of 10 are taken");
    places.extend((0..2).map(|_| hub.enter(tenant(2)).unwrap()));
    assert_eq!(hub.enter(tenant(3)).unwrap_err(), HubFull::Total, "all are taken");
    drop(places.split_off(7));
    places.push(hub.enter(tenant(1)).unwrap());
    assert_eq!(hub.n_open(), 8);
}

#[test]
fn a_message_is_what_the_event_says_and_nobody_can_forge_its_number() {
    let payload = serde_json::json!({ "meter": "ai_tokens", "id": 99, "type": "x" });
    let at = chrono::DateTime::from_timestamp(0, 0).unwrap();
    let event = StreamEvent { id: 4, kind: "threshold.crossed".to_owned(), payload, at };
    let message: Value = serde_json::from_str(&message(&event)).unwrap();
    assert_eq!(
        message,
        serde_json::json!({ "type": "threshold.crossed", "id": 4, "at": "1970-01-01T00:00:00.000Z", "meter": "ai_tokens" })
    );
}
