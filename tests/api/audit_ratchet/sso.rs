//! The calls about identity providers: a tenant connects one, and somebody signs in by it.

use businessos::clients::saml::SpKey;
use serde_json::json;

use super::Caller;
use crate::browser::{Browser, location, parameter};
use crate::dns::DnsServer;
use crate::helpers::Session;
use crate::liar::Liar;

/// Verifier and challenge of RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

pub(super) async fn call(caller: &mut Caller, dns: &DnsServer, tenant: &str, owner: &Session) {
    let by = Some(owner);
    let domain = Some(json!({ "domain": "acme.example" }));
    let claimed = caller.call("POST /tenants/{id}/domains", "acme", &[tenant], by, domain).await.json();
    dns.set_texts("_businessos-challenge.acme.example", &[claimed["record"]["value"].as_str().unwrap()]);
    let verify = "POST /tenants/{id}/domains/{domain}/verify";
    caller.call(verify, "acme", &[tenant, "acme.example"], by, None).await;

    let liar = Liar::start();
    let body = json!({"name": "idp", "kind": "oidc", "oidc": {"issuer": liar.issuer, "client_id": "bos"}, "jit": true,
                      "domains": ["acme.example"]});
    let made = caller.call("POST /sso/connections", "acme", &[], by, Some(body)).await;
    let id = super::id_in(&made);
    caller.call("PATCH /sso/connections/{id}", "acme", &[&id], by, Some(json!({"name": "provider"}))).await;
    caller.call("POST /sso/connections/{id}/test", "acme", &[&id], by, None).await;

    let mut browser = Browser::new();
    let start = made.json()["start_url"].as_str().unwrap().to_owned();
    let start = format!("{start}?code_challenge={CHALLENGE}&code_challenge_method=S256");
    let there = location(&start, &browser.get(&start).await);
    let back = liar.admit(&there, &liar.claims(&there, "ann", "ann@acme.example"));
    // A redirect, which the table's own way of calling does not take for a success.
    let form = [("code", parameter(&back, "code").unwrap()), ("state", parameter(&back, "state").unwrap())];
    let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let callback = back.split('?').next().unwrap().to_owned();
    let reply = browser.submit(&callback, &form).await;
    assert_eq!(reply.status, 303, "{reply:?}");
    let request = reply.header("x-request-id");
    let rows = format!("SELECT count(*) FROM platform.audit_log WHERE request_id = '{request}'");
    assert_eq!(caller.app.count(&rows).await, 0);
    caller.called.insert("POST /auth/sso/callback");

    let link = location(&callback, &reply);
    let code = parameter(&location(&link, &browser.get(&link).await), "code").expect("a code");
    let body = json!({"code": code, "code_verifier": VERIFIER});
    let ann = Session::of(&caller.call("POST /auth/sso/token", "acme", &[], None, Some(body)).await);
    let wish = json!({ "connection": id });
    caller.call("POST /auth/sso/step-up", "acme", &[], Some(&ann), Some(wish.clone())).await;
    caller.call("POST /auth/sso/link", "acme", &[], Some(&ann), Some(wish)).await;
    // Somebody with no other way in keeps it.
    let password = "UPDATE auth.users SET password_hash = 'x' WHERE email_norm = 'ann@acme.example'";
    caller.app.db.as_admin(password).await;
    caller.call("DELETE /auth/sso/identities/{connection}", "acme", &[&id], Some(&ann), None).await;

    let metadata = |place: &str| {
        let made = SpKey::generate("provider", businessos::clock::now()).unwrap();
        let certificate: String = made.certificate_pem.lines().filter(|line| !line.starts_with("-----")).collect();
        format!(
            "<EntityDescriptor xmlns=\"urn:oasis:names:tc:SAML:2.0:metadata\" entityID=\"urn:idp\">\
             <IDPSSODescriptor protocolSupportEnumeration=\"urn:oasis:names:tc:SAML:2.0:protocol\"><KeyDescriptor>\
             <KeyInfo xmlns=\"http://www.w3.org/2000/09/xmldsig#\"><X509Data><X509Certificate>{certificate}</X509Certificate>\
             </X509Data></KeyInfo></KeyDescriptor><SingleSignOnService Location=\"{place}/sso\" \
             Binding=\"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect\"/></IDPSSODescriptor></EntityDescriptor>"
        )
    };
    liar.set_jwks(&metadata(&liar.issuer));
    let body = json!({"name": "saml", "kind": "saml", "saml": {"metadata_url": format!("{}/jwks", liar.issuer)}});
    let saml = super::id_in(&caller.call("POST /sso/connections", "acme", &[], by, Some(body)).await);
    liar.set_jwks(&metadata(&liar.issuer));
    for operation in [
        "POST /sso/connections/{id}/refresh",
        "POST /sso/connections/{id}/keys",
        "POST /sso/connections/{id}/keys/activate",
    ] {
        caller.call(operation, "acme", &[&saml], by, None).await;
    }

    caller.call("DELETE /tenants/{id}/domains/{domain}", "acme", &[tenant, "acme.example"], by, None).await;
    caller.call("DELETE /sso/connections/{id}", "acme", &[&id], by, None).await;
}
