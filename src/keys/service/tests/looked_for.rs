//! A KMS that is asked before anybody needs a key.

use super::*;

#[test]
fn a_kms_that_is_away_at_the_start_is_known_to_be_and_found_again() -> TestResult {
    on_control_thread(async {
        let options = KeyOptions::default();
        let stage = Stage::new(&options, 0, 8)?;
        let (mut service, _executor) = service_for_one(Arc::clone(&stage.kms), &options);
        let statistics = service.statistics();
        stage
            .faults
            .refuse(Some(KmsError::Unavailable("for the test".to_owned())));
        service.look_for([
            (KmsId::from_number(0), "payments".into()),
            (KmsId::from_number(9), "of nobody".into()),
        ]);
        tokio::spawn(service.run());
        let until = async |is_it: fn(KmsState) -> bool| {
            let begun = Instant::now();
            while !is_it(statistics.kms[0].state(Instant::now())) {
                assert!(begun.elapsed() < Duration::from_secs(10));
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        until(|state| matches!(state, KmsState::Silent(_))).await;
        // Nobody asks for anything.
        stage.faults.refuse(None);
        until(|state| state == KmsState::Answering).await;
        assert_eq!(statistics.kms[0].revocations.get(), 0);
        Ok(())
    })
}
