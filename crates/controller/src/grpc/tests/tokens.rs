//! Tokens redeemed in a crowd, over real connections.

use std::collections::BTreeMap;

use super::*;
use crate::app::PageRequest;
use crate::app::servers::ServerFilter;

/// Redemptions of one token at a time.
const CROWD: usize = 200;

fn unlimited() -> Settings {
    Settings {
        enrolment_per_address_per_s: 100_000.0,
        enrolment_burst: 1_000_000,
        // The clock of these tests stands, so this is how many there may be in all: a thousand crowds.
        enrolment_per_s: 1_000_000.0,
        ..Settings::default()
    }
}

/// How each of a crowd's redemptions of one single-use token ended.
async fn crowd(world: &Arc<World>) -> BTreeMap<String, usize> {
    let token = world.token().await;
    // All are connected before the first asks.
    let start = Arc::new(tokio::sync::Barrier::new(CROWD));
    let tries: Vec<_> = (0..CROWD)
        .map(|_| {
            let (world, token, start) = (Arc::clone(world), token.clone(), Arc::clone(&start));
            tokio::spawn(async move {
                let mut client = EnrollmentClient::new(world.channel(None).await.unwrap());
                let (request, _) = enrolment_request(token);
                start.wait().await;
                match client.enroll(request).await {
                    Ok(_) => "enrolled".to_owned(),
                    Err(status) => status
                        .metadata()
                        .get("muster-code")
                        .map_or_else(|| format!("{status:?}"), |code| code.to_str().unwrap().to_owned()),
                }
            })
        })
        .collect();
    let mut ends = BTreeMap::new();
    for one in tries {
        *ends.entry(one.await.unwrap()).or_default() += 1;
    }
    ends
}

/// S1
#[tokio::test(flavor = "multi_thread")]
async fn of_two_hundred_connections_that_redeem_one_token_at_once_exactly_one_becomes_an_agent() {
    let (_folder, dir) = folder();
    let world = Arc::new(World::start_as(&dir, Options::default(), unlimited()).await);
    let tokens: u64 = if std::env::var_os("MUSTER_TEST_FULL").is_some() {
        1_000
    } else {
        2
    };
    for _ in 0..tokens {
        // `key_mismatch` is said by the transaction alone, after it has found no use left: so all have reached it.
        let expected = [("enrolled".to_owned(), 1), ("key_mismatch".to_owned(), CROWD - 1)];
        assert_eq!(crowd(&world).await, expected.into());
    }
    let servers = world
        .app
        .servers(ServerFilter::default(), PageRequest::default())
        .await
        .unwrap();
    let agents = world.app.agents(None, PageRequest::default()).await.unwrap();
    assert_eq!((servers.total, agents.total), (tokens, tokens));
    println!(
        "{tokens} tokens, each redeemed {CROWD} times at once: {} identities, {} refused by the transaction",
        agents.total,
        tokens as usize * (CROWD - 1)
    );
    Arc::into_inner(world).unwrap().end().await;
}

/// S1: a crowd is held back before anything of it costs a signature.
#[tokio::test]
async fn requests_beyond_the_rate_are_refused_before_their_signature_is_looked_at() {
    let (_folder, world) = world().await;
    let mut client = EnrollmentClient::new(world.channel(None).await.unwrap());
    let mut refused = 0;
    for _ in 0..50 {
        let (mut request, _) = enrolment_request(world.token().await);
        // A request that is no request at all: had it been looked at, that would be the answer.
        request.certificate_request = vec![1, 2, 3];
        let status = client.enroll(request).await.unwrap_err();
        match status.metadata().get("muster-code").unwrap().to_str().unwrap() {
            "too_many" => refused += 1,
            "bad_request" => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(refused, 30, "a burst of 20 passes");
    assert_eq!(world.app.refusals().of("too_many"), 30);
    world.end().await;
}
