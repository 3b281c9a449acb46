//! The dataflow: how the pieces hang together. Read it from top to bottom: records to audit entries.

use crate::active::active;
use crate::chain::chain;
use crate::epochs::Epochs;
use crate::gather::gather;
use crate::ingest::{Inbox, ingest};
use crate::recovery::recovery;
use crate::requests::requests;
use crate::vitals::vitals;
use crate::worker::Start;
use timely::dataflow::operators::{Concatenate, Probe};
use timely::dataflow::{ProbeHandle, Scope};
use timely::scheduling::Activator;

/// Builds the dataflow in `scope`. The probe tells which epochs are complete: then `epochs` has what this worker said in
/// them or, if workers are spread over processes, what all did, on the first. The activator is pulled when the inbox was
/// filled.
pub(crate) fn build(
    scope: Scope<'_, u64>,
    inbox: &Inbox,
    epochs: &Epochs,
    start: &Start,
) -> (ProbeHandle<u64>, Activator) {
    let complete = epochs;
    let epochs = &if start.spread { complete.unsaid() } else { complete.clone() };

    let ingested = ingest(scope, inbox, epochs, start);
    let of_keys = requests(ingested.sheaves, epochs, start);
    let of_nodes = vitals(ingested.vitals, of_keys.clone(), epochs, start);
    let news = scope.concatenate([of_keys, of_nodes, ingested.news]);
    let drafts = recovery(active(news.clone()), news, epochs, start);
    let chained = chain(ingested.drafts, drafts, epochs, start);

    let chained = if start.spread { gather(chained, epochs, complete) } else { chained };
    let (probe, _) = chained.probe();
    (probe, ingested.activator)
}
