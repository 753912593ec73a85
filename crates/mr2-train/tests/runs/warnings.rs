//! Failure signs as a user meets them: once a run, and only where something is wrong.

use mr2_loss::{ExponentScale, Mr2Config, Preset, Reduction};
use mr2_train::report::FailureSign;
use mr2_train::{Event, ObjectiveConfig, Outcome, RunResult, Start, StopFlag, TrainConfig};

use crate::support::{EPOCHS, STEPS_PER_EPOCH, config, objective, process_with};

fn with_objective(objective: Mr2Config) -> TrainConfig {
    TrainConfig {
        objective: ObjectiveConfig::Mr2(objective),
        ..config()
    }
}

fn finished(config: TrainConfig) -> RunResult {
    let folder = tempfile::tempdir().unwrap();
    match process_with(config)
        .run(folder.path(), Start::Fresh)
        .unwrap()
    {
        Outcome::Finished(result) => *result,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_sign_of_many_epochs_is_told_once_in_a_run_even_if_it_is_resumed() {
    // Averages over 1000 updates lag in every epoch.
    let config = with_objective(Preset::OfficialImagenet.config());
    let folder = tempfile::tempdir().unwrap();
    let mut told = Vec::new();
    for (start, until) in [
        (Start::Fresh, 2 * STEPS_PER_EPOCH),
        (Start::Resume, u64::MAX),
    ] {
        let stop = StopFlag::new();
        let asked = stop.clone();
        let mut observer = |event: &Event<'_>| match event {
            Event::Warning(message) => told.push(message.to_string()),
            Event::Step { record, .. } if record.step == until => asked.stop(),
            _ => {}
        };
        let process = process_with(config.clone());
        let run = process.run_watched(folder.path(), start, &stop, &mut observer);
        run.unwrap();
    }
    let lag = |message: &&String| message.contains("their moving averages span");
    assert_eq!(told.iter().filter(lag).count(), 1, "{told:?}");
    let result = RunResult::read(folder.path()).unwrap();
    let warning = result
        .warnings
        .iter()
        .find(|w| w.sign == FailureSign::StaleStatistics);
    assert_eq!(warning.unwrap().epochs, (1..=EPOCHS).collect::<Vec<_>>());
}

#[test]
fn the_representation_term_is_said_to_dominate_where_it_pulls_harder_at_the_features() {
    let gentle = objective();
    let mut strong = gentle.clone();
    strong.representation.weight = 300.0;
    // Most of the loss, and yet almost the same whatever the features are.
    let mut large = gentle.clone();
    large.representation.reduction = Reduction::SampleMean;
    large.representation.scale = ExponentScale::Constant(1e4);
    large.representation.weight = 3.0;
    for (objective, dominates) in [(gentle, false), (large, false), (strong, true)] {
        let weight = objective.representation.weight;
        let result = finished(with_objective(objective));
        let first = &result.curves[0];
        let ratio = first.pulls.unwrap().ratio().unwrap();
        assert_eq!(ratio > 1.0, dominates, "λ = {weight}: {ratio}");
        let sign = FailureSign::RepresentationDominates;
        let said = result.warnings.iter().find(|warning| warning.sign == sign);
        assert_eq!(said.is_some(), dominates, "λ = {weight}: {said:?}");
        if weight == 3.0 {
            assert!(weight * first.representation_loss > 0.5 * first.loss);
        }
    }
}
