use crate::config::load;

/// What is wrong with a configuration file, besides the file's name.
fn mistakes(text: &str) -> Vec<String> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), text).expect("the file is written");
    let tail = |line: &String| line.split_once("(or environment): ").map_or(line.clone(), |(_, tail)| tail.into());
    load(Some(file.path())).err().map(|error| error.0.iter().map(tail).collect()).unwrap_or_default()
}

/// Checks that there is one mistake, in one line, which begins with the key.
#[track_caller]
fn assert_names(text: &str, key: &str) {
    let found = mistakes(text);
    assert!(
        matches!(&*found, [line] if line.starts_with(&format!("{key}: found ")) && !line.contains('\n')),
        "{text}: {found:?}"
    );
}

#[test]
fn prices_are_whole_and_not_negative() {
    for (figure, key) in [
        ("price_minor = -1", "price_minor"),
        ("price_minor = 100000000001", "price_minor"),
        ("trial_days = 366", "trial_days"),
        ("title = \"\"", "title"),
    ] {
        assert_names(&format!("[plans.tiny]\nmodules = []\n{figure}\n"), &format!("plans.tiny.{key}"));
    }
    assert_names("[plans.\"a@1\"]\nmodules = []\n", "plans.a@1");
    for price in ["", "-1", "1,5", "1e3", "0.0000000000001"] {
        let text =
            format!("[plans.tiny]\nmodules = []\n[plans.tiny.meters.ai_tokens]\noverage_unit_price = {price:?}\n");
        assert_names(&text, "plans.tiny.meters.ai_tokens.overage_unit_price");
    }
    let number = "[plans.tiny]\nmodules = []\n[plans.tiny.meters.ai_tokens]\noverage_unit_price = 0.002\n";
    assert!(mistakes(number).concat().contains("overage_unit_price"), "a float is no price");
    assert!(mistakes("[plans.tiny]\nmodules = []\nprice_minor = 49.0\n").concat().contains("price_minor"));
}

#[test]
fn modules_have_a_title_and_a_price() {
    assert_names("[modules.x]\ntitle = \"\"\nprice_minor = 1\n", "modules.x.title");
    assert_names("[modules.x]\ntitle = \"X\"\nprice_minor = -1\n", "modules.x.price_minor");
    let route = "[[gateway.routes]]\nprefix = \"/x\"\nupstreams = [\"http://127.0.0.1:1\"]\nmodule = \"x\"\n";
    let sold = format!("[modules.x]\ntitle = \"X\"\nprice_minor = 1\n{route}");
    assert_eq!(mistakes(&sold), Vec::<String>::new());
    assert_eq!(mistakes(route).len(), 1, "nobody sells it");
}

#[test]
fn a_coupon_takes_off_a_share_or_an_amount_for_some_months() {
    for (figures, key) in [
        ("months = 1", ""),
        ("percent_off = 5\namount_off_minor = 5\nmonths = 1", ""),
        ("percent_off = 0\nmonths = 1", ".percent_off"),
        ("percent_off = 101\nmonths = 1", ".percent_off"),
        ("amount_off_minor = 0\nmonths = 1", ".amount_off_minor"),
        ("percent_off = 5\nmonths = 0", ".months"),
    ] {
        assert_names(&format!("[coupons.X]\n{figures}\n"), &format!("coupons.X{key}"));
    }
    assert_names("[coupons.\"a b\"]\npercent_off = 5\nmonths = 1\n", "coupons.a b");
    assert_eq!(mistakes("[coupons.LAUNCH-26]\npercent_off = 100\nmonths = 120\n"), Vec::<String>::new());
}

#[test]
fn the_currency_is_one_and_the_tax_a_percentage() {
    for currency in ["usd", "KWD"] {
        assert_names(&format!("[billing]\ncurrency = {currency:?}\n"), "billing.currency");
    }
    for rate in ["", "-1", "100.1", "101", "19%", "1.23456", "1000", "."] {
        assert_names(&format!("[billing]\ntax_rate_percent = {rate:?}\n"), "billing.tax_rate_percent");
    }
    for rate in ["0", "19", "7.7", "100", "100.00", "8.375"] {
        let text = format!("[billing]\ntax_rate_percent = {rate:?}\n[billing.seller]\ntax_id = \"IE1234567A\"\n");
        assert_eq!(mistakes(&text), Vec::<String>::new(), "{rate}");
    }
    assert_names("[billing]\ntax_rate_percent = \"19\"\n", "billing.seller.tax_id");
    for seller in ["registration = \"\"", "tax_id = \"DE123456789\"\nregistration = \"\""] {
        assert_names(&format!("[billing.seller]\n{seller}\n"), "billing.seller.registration");
    }
    let taxed = "[billing]\ntax_rate_percent = \"19\"\n[billing.seller]\nregistration = \"\"\n";
    assert_names(&format!("{taxed}tax_id = \"12/345\"\n"), "billing.seller.registration");
    assert_eq!(mistakes(&format!("{taxed}tax_id = \"DE123456789\"\n")), Vec::<String>::new());
    assert_names("[billing]\ntax_name = \"\"\n", "billing.tax_name");
}

#[test]
fn invoices_have_numbers_and_a_seller() {
    assert_names("[billing]\ninvoice_prefix = \"A-B\"\n", "billing.invoice_prefix");
    assert_names("[billing]\ncredit_note_prefix = \"INV\"\n", "billing.credit_note_prefix");
    assert_names("[billing]\npayment_days = 366\n", "billing.payment_days");
    assert_names("[billing.seller]\nlegal_name = \" \"\n", "billing.seller.legal_name");
    for country in ["Ireland", "UK", "ie"] {
        assert_names(&format!("[billing.seller]\ncountry = {country:?}\n"), "billing.seller.country");
    }
    let lines = "[billing.seller]\naddress_lines = [\"a\", \"b\", \"c\", \"d\"]\n";
    assert_names(lines, "billing.seller.address_lines");
    for iban in ["DE89 3704 0044 0532 0130 01", "DE89370400440532013001"] {
        assert_names(&format!("[billing.seller]\niban = {iban:?}\n"), "billing.seller.iban");
    }
    for iban in ["DE89 3704 0044 0532 0130 00", "DE89370400440532013000"] {
        assert_eq!(mistakes(&format!("[billing.seller]\niban = {iban:?}\n")), Vec::<String>::new());
    }
    assert_names(&format!("[billing.seller]\ncity = {:?}\n", "x".repeat(1_001)), "billing.seller.city");
    assert_names("[billing.seller]\naccent = \"blue\"\n", "billing.seller.accent");
}

#[test]
fn dunning_gets_worse_with_time() {
    assert_names("[billing.dunning]\nwarn_days = 15\n", "billing.dunning.restrict_days");
    assert_names("[billing.dunning]\nsuspend_days = 13\n", "billing.dunning.suspend_days");
    assert_names("[billing.dunning]\nsuspend_days = 366\n", "billing.dunning.suspend_days");
    assert_eq!(mistakes("[billing.dunning]\nwarn_days = 14\nsuspend_days = 14\n"), Vec::<String>::new());
}
