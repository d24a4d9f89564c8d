//! Cases that the model found once, in their shortest forms.

use super::{
    Op::{self, *},
    play,
    run::Way,
};

fn assert_holds(ops: &[Op]) {
    for way in Way::ALL {
        play(ops, way).unwrap();
    }
}

const PIECE: Op = Write { stderr: false, whole: false };

#[test]
fn a_deleted_empty_log_of_a_later_restart_does_not_end_a_line_that_goes_on_before_it() {
    let fails = Disk { fails: true };
    assert_holds(&[PIECE, Rename, fails, PIECE, Reopen, Restart, Restart, Remove, Turn, Remove, Remove]);
}

#[test]
fn a_log_that_is_written_to_again_and_rotated_when_restart_counts_begin_again_goes_on_in_its_next_file() {
    assert_holds(&[Restart, Turn, RestartCountAnew, PIECE, Rename, PIECE, Reopen, PIECE]);
}

#[test]
fn an_empty_log_with_the_name_and_the_inode_of_an_earlier_one_is_another_file() {
    let (stderr_piece, line) = (Write { stderr: true, whole: false }, Write { stderr: false, whole: true });
    assert_holds(&[Restart, stderr_piece, PIECE, Turn, Restart, Save, Remove, line, RestartCountAnew]);
}

#[test]
fn a_log_of_a_count_that_began_anew_comes_after_an_empty_one_of_a_higher_count() {
    assert_holds(&[Restart, Remove, RestartCountAnew, Kill, PIECE, Turn, PIECE, PIECE]);
}

#[test]
fn a_log_that_is_written_to_again_when_restart_counts_begin_again_goes_on_behind_an_empty_one_of_a_higher_count() {
    assert_holds(&[PIECE, Restart, Turn, Seal, End(0), Turn, Save, RestartCountAnew, Rename, PIECE, Reopen, Kill]);
}

#[test]
fn a_removed_file_with_a_line_of_a_refused_tenant_is_not_saved_because_later_lines_of_others_are() {
    let (refused, accepted) = (Tenants { refused: Some(0) }, Tenants { refused: None });
    let (burst, fails) = (Burst { stderr: false, lines: 2 }, Disk { fails: true });
    let until_refused = [PIECE, Rename, PIECE, refused, Reopen, burst, Turn, Turn, Seal, End(0), Remove];
    let then = [accepted, TryParked, fails, Turn, Save, Kill];
    assert_holds(&[&until_refused[..], &then].concat());
}
