use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn settings(url: Option<&str>) -> MailSettings {
    let mut settings = crate::config::load(None).expect("the defaults").mail;
    settings.smtp_url = url.map(Into::into);
    settings
}

fn mail(recipient: &str, subject: &str) -> Outgoing<'static> {
    Outgoing {
        pdf: None,
        id: clock::new_id(),
        kind: MailKind::Invitation,
        recipient: Box::leak(recipient.to_owned().into_boxed_str()),
        written_at: clock::now(),
        text: MailText { subject: subject.to_owned(), text: "plain".to_owned(), html: "<p>html</p>".to_owned() },
    }
}

#[tokio::test]
async fn without_a_server_a_mail_is_a_file_that_only_its_owner_reads() {
    let directory = tempfile::tempdir().expect("a directory");
    let mailer = Mailer::new(&settings(None), directory.path()).expect("a mailer");
    mailer.send(mail("ann@acme.test", "Grüße")).await.expect("written");
    let files: Vec<_> = std::fs::read_dir(directory.path().join("mail")).expect("the directory").collect();
    assert_eq!(files.len(), 1);
    let file = files[0].as_ref().expect("an entry");
    assert!(file.file_name().to_string_lossy().contains("-invitation-"));
    assert_eq!(file.metadata().expect("metadata").permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(file.path()).expect("text");
    assert!(text.contains("To: ann@acme.test\r\n") && text.contains("multipart/alternative"), "{text}");
}

#[tokio::test]
async fn neither_subject_nor_recipient_can_add_a_header() {
    let directory = tempfile::tempdir().expect("a directory");
    let mailer = Mailer::new(&settings(None), directory.path()).expect("a mailer");
    let refused = mailer.send(mail("ann@acme.test\r\nBcc: all@acme.test", "Hello")).await.expect_err("refused");
    assert!(refused.is_permanent());
    mailer.send(mail("ann@acme.test", "Hello\r\nBcc: all@acme.test")).await.expect("written");
    let file = std::fs::read_dir(directory.path().join("mail")).expect("files").next().expect("one").expect("entry");
    let text = std::fs::read_to_string(file.path()).expect("text");
    assert!(!text.contains("\nBcc:"), "{text}");
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let directory = Path::new("/nonexistent");
    assert!(matches!(Mailer::new(&settings(Some("http://mail.example")), directory), Err(MailerError::Url(_))));
    let mut no_sender = settings(None);
    no_sender.from = "nobody".to_owned();
    assert!(matches!(Mailer::new(&no_sender, directory), Err(MailerError::From(_))));
    let mut no_file = settings(Some("smtps://user:p%40ss@mail.example:465"));
    no_file.smtp_ca_file = Some("/nonexistent/ca.pem".into());
    assert!(matches!(Mailer::new(&no_file, directory), Err(MailerError::CaFile(_))));
}
