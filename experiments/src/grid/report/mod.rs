//! A table's report: the document made of its runs' results.

mod accuracy;
mod causes;
mod claims;
mod collapse;
mod collected;
mod correlations;
mod costs;
mod curves;
mod margins;
mod over_seeds;
mod paper_way;
mod provenance;
mod published;
mod shifts;
mod tuned;
mod written;

pub use collected::{Collected, CollectedArm, CollectedBlock, CollectedRun};
pub use written::print;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use mr2_metrics::ClassReport;
use serde::Serialize;

use super::cost::Cost;
use super::execute::Failure;
use super::table_file::{Scale, Show, TableFile};
use super::tuning::TunedArms;
use crate::report::document::{Block, Claim, Document, Section};
use crate::report::files::Report;
use crate::report::plots::Scene;

/// The numbers behind a table, for its JSON.
#[derive(Clone, Debug, Serialize)]
pub struct TableData {
    /// The table's file.
    pub table: TableFile,
    /// What was trained.
    pub scale: Scale,
    /// Each setting's blocks.
    pub blocks: Vec<BlockData>,
    /// What the representation loss costs.
    pub costs: Vec<Cost>,
    /// Runs that couldn't be trained.
    pub failures: Vec<Failure>,
}

/// The numbers of a block.
#[derive(Clone, Debug, Serialize)]
pub struct BlockData {
    /// Data, network and length.
    pub setting: String,
    /// The block.
    pub block: String,
    /// Runs by arm and seed: the hashes that name their folders.
    pub runs: BTreeMap<String, BTreeMap<u64, String>>,
    /// Accuracies, differences, phantom gains.
    pub report: ClassReport,
    /// What tuning chose among, and what it chose.
    pub tuned: TunedArms,
}

/// Makes the report.
///
/// # Errors
/// When a statistic can't be computed.
pub fn report(collected: &Collected<'_>) -> Result<Report<TableData>> {
    let mut sections = Vec::new();
    let mut plots = BTreeMap::new();
    let mut blocks = Vec::new();
    let mut claimed: Vec<Claim> = Vec::new();
    let several = collected.blocks.len() > 1;
    for block in &collected.blocks {
        let heading = match several {
            true => format!("{}: {}", block.setting.name, block.block.name),
            false => block.setting.name.clone(),
        };
        let about = |mut claim: Claim| {
            if several {
                claim.claim = format!("{heading}: {}", claim.claim);
            }
            claim
        };
        if block.is_empty() {
            let claims = claims::without_runs(&collected.table.claims, block);
            claimed.extend(claims.into_iter().map(about));
            sections.push(without_runs(heading, block));
            continue;
        }
        let report = accuracy::class_report(block).with_context(|| heading.clone())?;
        let claims = claims::claims(&collected.table.claims, block, &report)?;
        claimed.extend(claims.into_iter().map(about));
        let section = section(heading.clone(), block, &report, collected, &mut plots);
        sections.push(section.context(heading)?);
        blocks.push(BlockData {
            setting: block.setting.name.clone(),
            block: block.block.name.clone(),
            runs: runs(block),
            report,
            tuned: block.tuned.clone(),
        });
    }
    sections.extend(costs::section(&collected.costs));
    sections.push(provenance::section(collected));
    if !claimed.is_empty() {
        let mut blocks = vec![Block::Claims { claims: claimed }];
        blocks.push(Block::text(
            "A claim holds or fails where p is at most 0.05; otherwise it is undecided at this number of seeds. p of a difference to \
             the reference is Holm's over the arms of its table, of a difference between two other arms that of the pair alone, of \
             a best arm Holm's over the arms that it is compared with, and of a correlation ρ over classes that of a permutation \
             test. A difference that is the same in every seed has no p.",
        ));
        sections.push(Section {
            title: "Claims".into(),
            blocks,
        });
    }
    let document = Document {
        title: written::title(collected),
        summary: provenance::summary(collected),
        sections,
    };
    let data = TableData {
        table: collected.table.clone(),
        scale: collected.scale,
        blocks,
        costs: collected.costs.clone(),
        failures: collected.failures.clone(),
    };
    Ok(Report {
        document,
        data,
        plots,
    })
}

/// What stands in place of the tables where there is nothing to compare with.
fn without_runs(title: String, block: &CollectedBlock<'_>) -> Section {
    let reference = &block.arms[0].arm.name;
    let text = format!("No run of {reference} is finished, so there is no table yet.");
    Section {
        title,
        blocks: vec![Block::text(text)],
    }
}

fn section(
    title: String,
    block: &CollectedBlock<'_>,
    report: &ClassReport,
    collected: &Collected<'_>,
    plots: &mut BTreeMap<String, Scene>,
) -> Result<Section> {
    let mut blocks = vec![Block::Table(accuracy::main_table(block, report))];
    if collected.scale == Scale::Full {
        blocks.extend(published::published_table(block, report).map(Block::Table));
    }
    blocks.extend(accuracy::difference_table(report).map(Block::Table));
    for show in &collected.table.shows {
        blocks.extend(match show {
            Show::ClassSpread => curves::class_spread(block, plots)?,
            Show::HeadNorms => curves::head_norms(block, plots)?,
            Show::Sweep => curves::sweep(block, report, plots),
            Show::Margins => margins::margins(block),
            Show::Shifts => shifts::shifts(block, report)?,
            Show::Collapse => collapse::collapse(block),
            Show::SpreadCauses => causes::spread_causes(block)?,
        });
    }
    blocks.push(Block::Table(paper_way::paper_way_table(block, report)));
    blocks.extend(tuned::tuning_table(block).map(Block::Table));
    Ok(Section { title, blocks })
}

fn runs(block: &CollectedBlock<'_>) -> BTreeMap<String, BTreeMap<u64, String>> {
    let arms = block.trained();
    arms.map(|arm| {
        let runs = arm.runs.iter().map(|run| (run.seed, run.key.clone()));
        (arm.arm.name.clone(), runs.collect())
    })
    .collect()
}

#[cfg(test)]
mod golden;
