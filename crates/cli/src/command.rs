//! What can be asked of a controller, one file a command. Each reads its words, asks the API, and shows the answer.

mod alerts;
mod channels;
mod confirm;
mod containers;
mod contexts;
mod devices;
mod file;
mod follow;
mod login;
mod pools;
mod query;
mod rules;
mod servers;
mod silences;
mod tasks;
mod tokens;
mod top;
mod updates;
mod users;

pub(crate) use alerts::Alerts;
pub(crate) use channels::Channels;
pub(crate) use containers::Containers;
pub(crate) use contexts::Contexts;
pub(crate) use devices::Devices;
pub(crate) use login::{Login, Logout};
pub(crate) use pools::Pools;
pub(crate) use query::Query;
pub(crate) use rules::Rules;
pub(crate) use servers::Servers;
pub(crate) use silences::Silences;
pub(crate) use tasks::Tasks;
pub(crate) use tokens::Tokens;
pub(crate) use top::Top;
pub(crate) use updates::Updates;
pub(crate) use users::Users;
