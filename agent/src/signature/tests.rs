//! Files that Debian's minisign 0.11 made, and what strangers could make of them. `agent/tests/operator/signature.rs` asks minisign
//! itself, in both directions.

use proptest::prelude::*;

use super::*;

const FILE: &[u8] = b"a profile\n";
const PUBLIC: &str = "untrusted comment: minisign public key 8D4452D47062F8C6
RWTG+GJw1FJEjXRsIPWF32IksZPEiQ5qZ/Tvj7T/YPACXIJqoMEP4jOx
";
const SECRET: &str = "untrusted comment: minisign encrypted secret key
RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAxvhicNRSRI3cshAMqfGwHkk8/TFWGioeK9A6htnOKZULudPIztCC6HRsIPWF32IksZPEiQ5qZ/Tvj7T/YPACXIJqoMEP4jOxAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
";
const LOCKED: &str = "untrusted comment: minisign encrypted secret key
RWRTY0Iy4ib1TcB5MS+BTlVOuLfutzlOl/3tuz8AbWd8b5YNcEkAAAACAAAAAAAAAEAAAAAAMoyZOScTrUemi9IchlAYxAtF5oKj7UOoQd5cxoCTyRowCEzyO5LnOwKa8ITaD14tMRcB2gJ/cLhsEqEdNvt/JYoYBr8dD6lF2EWpdQt0pz/gGgrvueRtLewxgk+E2EMSMS8fzBwW8Po=
";
const SIGNATURE: &str = "untrusted comment: signature from minisign secret key
RUTG+GJw1FJEja+ZG21q4nFBTWTHHgo+jHBkarp0nxvPd0GVCL0Hxg+TAdTrjmmqKDdHwhaDktXjeDx8ACJ8gP1Eh8MIvzsdawM=
trusted comment: reviewed by ops
0kE47j4AIkbna6ILS6kHHStgsYyfKTA1xJCAbKiyLhyopVmcrsvuG6AkHDlKy4he4BfFmtnBsytJR5AANHKwAQ==
";
const LEGACY: &str = "untrusted comment: signature from minisign secret key
RWTG+GJw1FJEjVuqqqtld7uvj7vDe178ZFtkOIbZG7vg87I7wIPRTgNbW4mwmU9LyerB/461weRQjkU/RwwvfvH8o+CpTiSwJQ8=
trusted comment: legacy
tzh2nw55h8FURUs5X6EaM1mGMV1Dyar/jpr2Gptc3iro34Ya+42r8PEvgMt+Z+de/OCsLxY6xxC67eDidgbKBA==
";
/// The public half of [`LOCKED`].
const OTHER: &str = "RWTdbd0JnH1UoVWyU5CHO1D3HDXjwiRrSgEwLOGsnfCXtSopV/l/2fqi";

fn public() -> PublicKey {
    PublicKey::parse(PUBLIC.as_bytes()).expect("minisign's key")
}

pub(crate) fn secret() -> SecretKey {
    let key = LockedKey::parse(SECRET.as_bytes()).expect("minisign's key");
    assert!(!key.is_encrypted());
    key.unlock(b"").expect("not encrypted")
}

/// The key's file with other bytes from `at` on.
fn with_bytes(file: &str, at: usize, bytes: &[u8]) -> String {
    let (comment, line) = file.split_once('\n').expect("two lines");
    let mut key = STANDARD.decode(line.trim_end()).expect("Base64");
    key[at..at + bytes.len()].copy_from_slice(bytes);
    format!("{comment}\n{}\n", STANDARD.encode(key))
}

fn verify(signature: &str, file: &[u8]) -> Result<(), SignatureError> {
    Signature::parse(signature.as_bytes())?.verify(&public(), &Prehash::of(file))
}

#[test]
fn what_minisign_signed_holds_and_nothing_else() {
    assert_eq!(verify(SIGNATURE, FILE), Ok(()));
    assert_eq!(verify(&SIGNATURE.replace('\n', "\r\n"), FILE), Ok(()));
    let signature = Signature::parse(SIGNATURE.as_bytes()).expect("minisign's");
    assert_eq!(signature.trusted_comment(), "reviewed by ops");
    assert_eq!(signature.key().to_string(), "8D4452D47062F8C6");
    assert_eq!(public().id(), signature.key());
    assert_eq!(secret().public_key(), public());
    let bare = PUBLIC.lines().nth(1).expect("a key");
    assert_eq!(PublicKey::parse(bare.as_bytes()), Ok(public()));

    let key = signature.key();
    assert_eq!(
        verify(SIGNATURE, b"another profile\n"),
        Err(SignatureError::WrongFile { key })
    );
    assert_eq!(
        verify(&SIGNATURE.replace("by ops", "by eve"), FILE),
        Err(SignatureError::WrongComment { key })
    );
    let other = PublicKey::parse(OTHER.as_bytes()).expect("minisign's key");
    assert_eq!(
        signature.verify(&other, &Prehash::of(FILE)),
        Err(SignatureError::OtherKey {
            signed_with: key,
            expected: other.id()
        })
    );
    let by_any = |keys: &[PublicKey]| signature.verify_by_any(keys, &Prehash::of(FILE));
    assert_eq!(by_any(&[other.clone(), public()]), Ok(()));
    assert_eq!(
        by_any(std::slice::from_ref(&other)),
        Err(SignatureError::Untrusted { signed_with: key })
    );
    // A key with the same id, which anybody can make, neither vouches nor stands in the way.
    let namesake = PublicKey {
        id: public().id(),
        key: other.key,
    };
    assert_eq!(by_any(&[namesake.clone(), public()]), Ok(()));
    assert_eq!(by_any(&[namesake]), Err(SignatureError::WrongFile { key }));
}

/// ed25519 draws nothing: the same key signs the same file in the same way, here and there.
#[test]
fn signs_as_minisign_does() {
    let made = Signature::sign(&secret(), &Prehash::of(FILE), "reviewed by ops").expect("signed");
    assert_eq!(Signature::parse(SIGNATURE.as_bytes()), Ok(made.clone()));
    assert_eq!(Signature::parse(made.render().as_bytes()), Ok(made));
    for comment in ["two\nlines", "\x1b[2J", &"x".repeat(8193)] {
        assert_eq!(
            Signature::sign(&secret(), &Prehash::of(FILE), comment),
            Err(SignatureError::Comment)
        );
    }
}

/// One gibibyte and a second or two: minisign's own cost.
#[test]
fn a_key_with_a_password_opens_with_it_alone() {
    let key = || LockedKey::parse(LOCKED.as_bytes()).expect("minisign's key");
    assert!(key().is_encrypted());
    assert_eq!(
        key().unlock(b"secret word").expect("the password").public_key(),
        PublicKey::parse(OTHER.as_bytes()).expect("minisign's key")
    );
    assert_eq!(
        key().unlock(b"secret wort").expect_err("another"),
        SignatureError::Password
    );
    assert_eq!(
        format!("{:?} {:?}", key(), secret()),
        "LockedKey SecretKey(8D4452D47062F8C6)"
    );
}

#[test]
fn errors_say_what_is_wrong() {
    let line = |number: usize| SIGNATURE.lines().nth(number).expect("four lines");
    let without = |number| SIGNATURE.replace(&format!("{}\n", line(number)), "");
    let signatures = [
        String::new(),
        without(0),
        without(1),
        without(2),
        without(3),
        SIGNATURE.replace(line(1), &line(1)[..96]),
        // A signature of the comment that is too short is not to be indexed.
        SIGNATURE.replace(line(3), &line(3)[..40]),
        SIGNATURE.replace(line(3), ""),
        SIGNATURE.replace("RUTG", "RXTG"),
        SIGNATURE.replace("RUTG", "QUFG"),
        format!("{SIGNATURE}more\n"),
        format!("{SIGNATURE}{}", "\n".repeat(SIGNATURE_BYTES_MAX)),
        SIGNATURE.replace("by ops", "by\u{1b}[2J"),
        LEGACY.to_owned(),
        PUBLIC.to_owned(),
        SECRET.to_owned(),
    ];
    let mut errors: Vec<String> = signatures
        .iter()
        .map(|text| Signature::parse(text.as_bytes()).expect_err(text).to_string())
        .collect();
    errors.push(Signature::parse(b"\xff\xfe").expect_err("no text").to_string());
    let key = PUBLIC.lines().nth(1).expect("a key");
    for text in [
        String::new(),
        "/etc/driftlock/key.pub".to_owned(),
        key[..52].to_owned(),
        SECRET.to_owned(),
        key.replace("RWTG", "RUTG"),
        // The neutral element, for which anybody can sign.
        format!("RWTG+GJw1FJEjQE{}", "A".repeat(41)),
        "x".repeat(KEY_BYTES_MAX + 1),
    ] {
        errors.push(PublicKey::parse(text.as_bytes()).expect_err(&text).to_string());
    }
    for text in [
        String::new(),
        PUBLIC.to_owned(),
        with_bytes(SECRET, 4, b"B3"),
        with_bytes(SECRET, 2, b"Ar"),
        with_bytes(SECRET, 0, b"ED"),
    ] {
        errors.push(LockedKey::parse(text.as_bytes()).expect_err(&text).to_string());
    }
    let damaged = with_bytes(SECRET, 54 + 8, b"x");
    let damaged = LockedKey::parse(damaged.as_bytes()).expect("a key");
    errors.push(damaged.unlock(b"").expect_err("damaged").to_string());
    // All operations and all memory that the two numbers can name.
    let costly = with_bytes(LOCKED, 38, &[0xff; 16]);
    let costly = LockedKey::parse(costly.as_bytes()).expect("a key");
    errors.push(costly.unlock(b"").expect_err("costly").to_string());
    insta::assert_snapshot!(errors.join("\n"));
}

proptest! {
    /// Whatever the bytes, it is an error or a signature that is read back as it is.
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Signature::parse(&bytes).is_err());
        prop_assert!(PublicKey::parse(&bytes).is_err());
        prop_assert!(LockedKey::parse(&bytes).is_err());
    }

    /// One byte that is another, anywhere that is signed: the signature does not hold.
    #[test]
    fn a_changed_byte_is_noticed(at in 54..300_usize, byte: u8) {
        let mut bytes = SIGNATURE.as_bytes().to_vec();
        let at = at.min(bytes.len() - 2);
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        let result = Signature::parse(&bytes).and_then(|signature| signature.verify(&public(), &Prehash::of(FILE)));
        prop_assert!(result.is_err(), "{} {}", at, byte);
    }
}
