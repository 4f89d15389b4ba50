//! Pages against a model in memory.

use hubbub_messenger::message::Page;
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};

use super::*;

/// The numbers of some messages in the order of arrival, whether each comes again at a lower place, and the ranges that
/// are asked for.
type Case = (Vec<u64>, Vec<bool>, Vec<(Option<Seq>, Option<Seq>, usize)>);

fn cases() -> impl Strategy<Value = Case> {
    let numbers = proptest::sample::subsequence((1..40).collect::<Vec<u64>>(), 0..30).prop_shuffle();
    let bound = || prop_oneof![2 => Just(None), 5 => (0..90_u64).prop_map(Some), 1 => Just(Some(Seq::MAX))];
    let ranges = proptest::collection::vec((bound(), bound(), 0..12_usize), 8);
    (numbers, proptest::collection::vec(any::<bool>(), 40), ranges)
}

/// The page as a list says it.
fn expected(messages: &[Message], range: PageRange) -> (Vec<Message>, bool) {
    let within = |m: &&Message| range.after.is_none_or(|a| m.place > a) && range.before.is_none_or(|b| m.place < b);
    let mut found: Vec<Message> = messages.iter().filter(within).cloned().collect();
    found.sort_by_key(|message| message.place);
    let beyond = found.len().saturating_sub(range.limit);
    let lowest = found.get(beyond).map_or(Seq::MAX, |message| message.place);
    if beyond > 0 {
        found.retain(|message| message.place >= lowest);
    }
    (found, beyond > 0)
}

async fn check(database: &Database, number: u64, (numbers, comes_again, ranges): Case) {
    // In two batches: first at one place, later some of them at a lower one.
    let mut model: Vec<Message> = numbers.iter().map(|n| message(n * 2 + 1, number, &format!("m{n}"))).collect();
    let cursor = database.cursor().await;
    let all = u64::try_from(model.len()).unwrap();
    assert_eq!(database.record("log", &batch(&cursor, cursor.seq + 1, model.clone())).await, Ok(committed(all, 0)));
    let mut again = Vec::new();
    for (known, _) in model.iter_mut().zip(comes_again).filter(|(_, comes)| *comes) {
        known.place -= 1;
        again.push(known.clone());
    }
    let repeated = u64::try_from(again.len()).unwrap();
    let cursor = database.cursor().await;
    assert_eq!(database.record("log", &batch(&cursor, cursor.seq + 1, again)).await, Ok(committed(0, repeated)));
    let last = model.iter().map(|message| message.place).max().map_or(0, Seq::cast_signed);
    let kept = format!("SELECT coalesce(max(last_seq), 0) FROM rooms WHERE id = 'room-{number}'");
    assert_eq!(database.number(kept).await, last);
    for (before, after, limit) in ranges {
        let range = PageRange { before, after, limit };
        let Page { messages, has_more, recorded, gaps } = database.page(&room(number), range).await.unwrap();
        assert_eq!((messages, has_more), expected(&model, range), "{range:?}");
        assert_eq!((recorded, gaps), (cursor.seq + 1, vec![]));
    }
}

on_both_engines! {
    async fn pages_are_those_of_a_sorted_list_in_any_order_of_arrival(home: &Home) {
        let (database, _) = home.begun().await;
        let mut runner = TestRunner::new(Config::default());
        for number in 0..60 {
            let case = cases().new_tree(&mut runner).unwrap().current();
            check(&database, number, case).await;
        }
    }

    async fn pages_that_follow_each_other_give_each_message_once(home: &Home) {
        let (database, start) = home.begun().await;
        let messages: Vec<_> = (1..=23).map(|n| message(n * 5, 1, &format!("m{n}"))).collect();
        assert_eq!(database.record("log", &batch(&start, 200, messages.clone())).await, Ok(committed(23, 0)));
        let (mut found, mut range) = (Vec::new(), PageRange { before: None, after: None, limit: 4 });
        loop {
            let page = database.page(&room(1), range).await.unwrap();
            range.before = page.messages.first().map(|message| message.place);
            found.splice(0..0, page.messages);
            if !page.has_more {
                break;
            }
        }
        assert_eq!(found, messages);
    }

    /// A clock went back, or another log was recorded before.
    async fn messages_that_share_a_place_are_neither_skipped_nor_given_twice(home: &Home) {
        let (database, start) = home.begun().await;
        let mut messages: Vec<_> = (1..=30).map(|n| message(n / 4 * 5 + 1, 1, &format!("m{n}"))).collect();
        messages.extend((0..2).map(|n| message(200 + n, 1, &format!("n{n}"))));
        assert_eq!(database.record("log", &batch(&start, 300, messages.clone())).await, Ok(committed(32, 0)));
        let name = |message: &Message| message.id.as_str().to_owned();
        let all: std::collections::BTreeSet<_> = messages.iter().map(name).collect();
        for limit in 1..12 {
            let (mut found, mut range) = (Vec::new(), PageRange { before: None, after: None, limit });
            for _ in 0..40 {
                let page = database.page(&room(1), range).await.unwrap();
                assert!(page.messages.len() <= limit + 3, "{}", page.messages.len());
                range.before = page.messages.first().map(|message| message.place);
                found.extend(page.messages.iter().map(name));
                if !page.has_more {
                    break;
                }
            }
            assert_eq!(found.len(), all.len(), "{limit}: {found:?}");
            assert_eq!(found.into_iter().collect::<std::collections::BTreeSet<_>>(), all);
        }
    }

    async fn what_was_lost_is_named_on_the_page_that_it_touches(home: &Home) {
        let (database, start) = home.begun().await;
        let messages: Vec<_> = [10, 20, 60, 70].map(|n| message(n, 1, &format!("m{n}"))).into();
        assert_eq!(database.record("log", &batch(&start, 90, messages)).await, Ok(committed(4, 0)));
        assert_eq!(database.restored(&[(30, 50), (1, 5)]).await, Ok(()));
        assert_eq!(database.restored(&[(30, 50)]).await, Ok(()));
        assert_eq!(database.restored(&[]).await, Ok(()));
        let gaps = async |before, after, limit| {
            database.page(&room(1), PageRange { before, after, limit }).await.unwrap().gaps
        };
        assert_eq!(gaps(None, None, 50).await, [(1, 5), (30, 50)]);
        assert_eq!(gaps(None, None, 2).await, [], "above 60");
        assert_eq!(gaps(Some(60), None, 1).await, [(30, 50)], "20 to 59");
        assert_eq!(gaps(Some(20), None, 1).await, [(1, 5)], "up to 19");
        assert_eq!(gaps(None, Some(0), 1).await, [], "from 70");
        assert_eq!(gaps(None, Some(50), 9).await, [], "from 51");
        assert_eq!(gaps(None, Some(49), 9).await, [(30, 50)], "from 50");
        assert_eq!(gaps(Some(30), Some(10), 9).await, [], "11 to 29");
        let empty = database.page(&room(2), PageRange { before: None, after: None, limit: 5 }).await.unwrap();
        let gaps = vec![(1, 5), (30, 50)];
        assert_eq!(empty, Page { messages: vec![], has_more: false, recorded: 90, gaps });
    }

    async fn an_empty_database_has_empty_pages(home: &Home) {
        let database = home.open().await;
        let page = database.page(&room(1), PageRange { before: None, after: None, limit: 5 }).await;
        assert_eq!(page, Ok(Page { messages: vec![], has_more: false, recorded: 0, gaps: vec![] }));
    }
}
