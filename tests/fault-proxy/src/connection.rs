//! One connection: both directions, and how it ends.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::link::{Door, Link};
use crate::proxy::Counts;
use crate::pump::{Ended, Pump};
use crate::script::{Direction, Plan, Then};

/// A connection that has come.
pub(crate) struct Connection {
    pub(crate) client: TcpStream,
    pub(crate) upstream: SocketAddr,
    pub(crate) plan: Plan,
    pub(crate) link: watch::Receiver<Link>,
    pub(crate) counts: Arc<Counts>,
    /// It is to be reset.
    pub(crate) cut: CancellationToken,
}

/// How both directions end together.
enum Severed {
    Reset,
    Close,
    Vanish,
}

impl Connection {
    /// Serves it to its end.
    pub(crate) async fn run(mut self) {
        let cut = self.cut.clone();
        let Some(Some(server)) = cut.run_until_cancelled(self.reach()).await else {
            reset(&self.client);
            return;
        };
        // Without this, small frames would wait for each other in the proxy's own sockets.
        let _ = (self.client.set_nodelay(true), server.set_nodelay(true));
        let (mut client_read, mut client_write) = self.client.into_split();
        let (mut server_read, mut server_write) = server.into_split();
        let pump = |direction| {
            let bytes = match direction {
                Direction::Up => &self.counts.up,
                Direction::Down => &self.counts.down,
            };
            Pump::new(direction, self.link.clone(), self.plan.cut, bytes)
        };
        let both = async {
            tokio::try_join!(
                one_way(pump(Direction::Up), &mut client_read, &mut server_write),
                one_way(pump(Direction::Down), &mut server_read, &mut client_write),
            )
        };
        let severed = match cut.run_until_cancelled(both).await {
            Some(Ok(_)) => return,
            Some(Err(severed)) => severed,
            None => Severed::Reset,
        };
        self.counts.count_cut();
        match severed {
            Severed::Close => {
                // They may have gone already.
                let _ = (client_write.shutdown().await, server_write.shutdown().await);
                return;
            }
            Severed::Vanish => cut.cancelled().await,
            Severed::Reset => {}
        }
        for half in [client_write, server_write] {
            reset(half.as_ref());
            // Dropped, it would end the stream in order before the reset.
            half.forget();
        }
    }

    /// Reaches the server, as soon as the door lets it.
    async fn reach(&mut self) -> Option<TcpStream> {
        let link = *self.link.wait_for(|link| link.door != Door::Silent).await.ok()?;
        if link.door == Door::Reset {
            return None;
        }
        tokio::time::sleep(link.up.sent_again_after() + link.down.sent_again_after()).await;
        TcpStream::connect(self.upstream).await.ok()
    }
}

/// One direction to its end; an error ends both.
async fn one_way(pump: Pump<'_>, from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf) -> Result<(), Severed> {
    match pump.run(from, to).await {
        Ok(Ended::Finished) => to.shutdown().await.map_err(|_| Severed::Reset),
        Ok(Ended::Cut(Then::HalfClose)) => {
            to.shutdown().await.map_err(|_| Severed::Reset)?;
            // Whoever still sends is not to notice by a window that closes.
            let mut ignored = [0; 4096];
            while from.read(&mut ignored).await.is_ok_and(|read| 0 < read) {}
            Ok(())
        }
        Ok(Ended::Cut(Then::Stall)) => std::future::pending().await,
        Ok(Ended::Cut(Then::Vanish)) => Err(Severed::Vanish),
        Ok(Ended::Cut(Then::Close)) => Err(Severed::Close),
        Ok(Ended::Cut(Then::Reset | Then::Discard)) | Err(_) => Err(Severed::Reset),
    }
}

/// The peer gets a reset as soon as the socket is dropped.
fn reset(stream: &TcpStream) {
    // A socket that the peer has reset already needs none.
    let _ = stream.set_zero_linger();
}
