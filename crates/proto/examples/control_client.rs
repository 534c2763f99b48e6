//! An example client of a controller: lists its servers, then watches what changes.
//!
//! ```text
//! muster tokens api create example --scope read > token
//! cargo run -p muster-proto --example control_client http://127.0.0.1:8480 token node_load1
//! ```

use muster_proto::v1::control_client::ControlClient;
use muster_proto::v1::watch_response::Event;
use muster_proto::v1::{ListServersRequest, WatchRequest};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Endpoint;
use tonic::{Request, Status};

#[expect(clippy::print_stdout, reason = "that is what the example is for")]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let (Some(url), Some(token_file)) = (words.next(), words.next()) else {
        return Err("usage: control_client URL TOKEN-FILE [SELECTOR]...".into());
    };
    let token = std::fs::read_to_string(token_file)?;
    let bearer: MetadataValue<Ascii> = format!("Bearer {}", token.trim()).parse()?;
    let channel = Endpoint::from_shared(url)?.connect().await?;
    let mut client = ControlClient::with_interceptor(channel, move |mut request: Request<()>| {
        request.metadata_mut().insert("authorization", bearer.clone());
        Ok::<_, Status>(request)
    });

    let servers = client.list_servers(ListServersRequest::default()).await?;
    for server in servers.into_inner().servers {
        println!("{} {} {:?}", server.id, server.hostname, server.status());
    }

    let request = WatchRequest {
        servers: true,
        selectors: words.collect(),
        alerts: true,
    };
    let mut changes = client.watch(request).await?.into_inner();
    while let Some(change) = changes.message().await? {
        match change.event {
            Some(Event::Server(server)) => println!("{} is {:?}", server.hostname, server.status()),
            Some(Event::DeletedServer(deleted)) => println!("server {} was deleted", deleted.id),
            Some(Event::Sample(sample)) => {
                let metric = sample.series.map(|series| series.metric).unwrap_or_default();
                println!("{metric} = {} at {}", sample.value, sample.time_ms);
            }
            Some(Event::Alert(alert)) => {
                println!("alert {}: {} is {:?}", alert.id, alert.rule_name, alert.state());
            }
            Some(Event::Lost(lost)) => println!("{} changes were lost", lost.count),
            // Something of a newer controller.
            None => {}
        }
    }
    Ok(())
}
