//! Every table, in a wide and in a narrow terminal.

use driftlock::cli::screen::Screen;
use driftlock::cli::show;
use driftlock::control::view::CheckResult;

use crate::example;

const WIDE: Screen = Screen {
    width: None,
    colour: false,
};

#[test]
fn status() {
    insta::assert_snapshot!(show::status::text(&example::status(), WIDE));
}

#[test]
fn containers() {
    insta::assert_snapshot!(show::container::text(&example::containers(), WIDE));
    assert_eq!(show::container::text(&[], WIDE), "no containers\n");
}

#[test]
fn modes() {
    insta::assert_snapshot!(show::mode::text(&example::modes(), WIDE));
}

#[test]
fn profiles() {
    insta::assert_snapshot!(show::profile::list(&[example::summary()], WIDE));
    assert_eq!(show::profile::list(&[], WIDE), "no profiles\n");
}

#[test]
fn profile() {
    insta::assert_snapshot!(show::profile::show(&example::profile(), WIDE));
}

#[test]
fn accepted() {
    insta::assert_snapshot!(show::profile::accepted(&example::accepted(), WIDE));
}

#[test]
fn doctor() {
    insta::assert_snapshot!(show::doctor::text(&example::doctor(CheckResult::Warn), WIDE));
}

/// Whatever the terminal's width, no line is wider, and nothing in it acts on the terminal.
#[test]
fn every_table_fits_the_terminal() {
    for width in [60, 80, 120, 200] {
        let screen = Screen {
            width: Some(width),
            colour: false,
        };
        for text in [
            show::status::text(&example::status(), screen),
            show::container::text(&example::containers()[..1], screen),
            show::mode::text(&example::modes(), screen),
            show::profile::list(&[example::summary()], screen),
            show::profile::show(&example::profile(), screen),
            show::doctor::text(&example::doctor(CheckResult::Warn), screen),
        ] {
            for line in text.lines() {
                assert!(line.chars().count() <= usize::from(width), "{width}:\n{text}");
                assert!(!line.chars().any(char::is_control), "{line:?}");
            }
        }
    }
    insta::assert_snapshot!(show::container::text(
        &example::containers(),
        Screen {
            width: Some(80),
            colour: false
        }
    ));
}
