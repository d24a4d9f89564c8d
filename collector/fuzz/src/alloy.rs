//! Alloy's language: no text panics, an error has its place in the text, and so has everything that was found; what can be read is
//! converted to a configuration that compiles, or refused with a reason.

use collector::admin::migrate::{
    alloy,
    convert::{self, Options},
    origin::{Finding, Place, Text},
};

/// A configuration of Alloy, or a piece of one that stands in a chart's values.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let lines_max = 1 + text.matches('\n').count();
    let text = Text { place: Place::start_of("config.alloy"), text };
    let check = |place: &Place| assert!((1..=lines_max).contains(&place.line) && place.column > 0, "{place}");
    match alloy::read(std::slice::from_ref(&text)) {
        Ok(origin) => {
            origin.findings.iter().for_each(|finding| check(&finding.place));
            for client in &origin.clients {
                check(&client.place);
                client.findings.iter().for_each(|finding| check(&finding.place));
            }
            origin.pipelines.iter().for_each(|pipeline| check(&pipeline.place));
            let clients = |index: &usize| *index < origin.clients.len();
            assert!(origin.pipelines.iter().all(|pipeline| pipeline.clients.iter().all(clients)));
            match convert::convert(&origin, &Options::default()) {
                Ok(draft) => {
                    assert!(convert::compiled(&draft).is_ok());
                    let is_own_fault = |finding: &Finding| finding.text.contains("please report");
                    assert!(!draft.findings.iter().any(is_own_fault), "{:?}", draft.findings);
                }
                Err(why) => assert!(!why.contains("please report"), "{why}"),
            }
        }
        Err(faults) => {
            assert!(!faults.is_empty());
            faults.iter().for_each(|fault| check(&fault.place));
        }
    }
    let mut findings = Vec::new();
    for fault in [alloy::read_stages(&text, &mut findings).err(), alloy::read_rules(&text, &mut findings).err()] {
        fault.iter().flatten().for_each(|fault| check(&fault.place));
    }
    findings.iter().for_each(|finding| check(&finding.place));
}
