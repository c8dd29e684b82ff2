//! Certificates: ours by which the API server knows us, and its own by which we know it.

use std::{fs, io::Write, path::Path, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use serde_json::{Value, json};
use tests::{
    eventually, holds_for,
    http::{Endpoint, Tls},
    template,
    testbed::{Facts, Ground, Options, Testbed},
};

use super::{cluster, kubeconfig, plan_as, works};
use crate::{
    hostfactory::slices,
    site::{PATIENCE, Plan, must},
    testbed,
};

/// Common name of the certificate that a daemon has: its user name in the cluster.
const USER: &str = "hfd-by-certificate";

/// An authority of a test's own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM text.
struct Identity {
    certificate: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("keys can be made");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority signs itself"))
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a user (no host names), or for a server.
    fn identity(&self, name: &str, hosts: &[&str]) -> Identity {
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("host names are host names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().expect("keys can be made");
        let certificate = params.signed_by(&key, &self.0).expect("an authority signs");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

#[test]
fn a_client_certificate_is_taken_from_files_and_from_the_kubeconfig_itself() {
    let own = Testbed::start(Options::default()).expect("a testbed starts");
    let facts = own.facts();
    let authority = Authority::new("a test's users");
    // The API server reads its file of authorities again when it changes. It is also what the kubeconfig names, so that
    // a bundle of several certificates is read as well.
    append(&facts.authority, &authority.pem());
    let identity = authority.identity(USER, &[]);

    let plan = plan_as(facts, |plan| {
        plan.file("user.crt", identity.certificate.as_bytes());
        plan.file("user.key", identity.key.as_bytes());
        json!({"client-certificate": "user.crt", "client-key": "user.key"})
    });
    permit(&plan.ground);
    wait_known(facts, &plan.ground, &identity);
    let site = plan.start_serving();
    works(&site.hf);

    let data = |text: &str| STANDARD.encode(text);
    let inline =
        json!({"client-certificate-data": data(&identity.certificate), "client-key-data": data(&identity.key)});
    let bundle = fs::read_to_string(&facts.authority).expect("the testbed's certificates can be read");
    assert_eq!(bundle.matches("BEGIN CERTIFICATE").count(), 2);
    let cluster = json!({"server": facts.server, "certificate-authority-data": data(&bundle)});
    site.kubeconfig(&kubeconfig(&cluster, &inline));
    fs::remove_file(site.dir().join("user.key")).expect("the key is there");
    eventually("a client of the new kubeconfig", PATIENCE, || {
        site.daemon.log().contains("a file of the credentials was replaced").then_some(())
    });
    site.hf.wait_serving();
    works(&site.hf);
    site.pods().wait_none();
}

#[test]
fn a_new_authority_of_the_api_server_is_taken_from_the_file_that_the_kubeconfig_names() {
    let mut own = Testbed::start(Options::default()).expect("a testbed starts");
    let facts = own.facts().clone();
    let plan = Plan::new(&facts, 1);
    let old = fs::read_to_string(&facts.authority).expect("the testbed's certificates can be read");
    let file = plan.file("ca.crt", old.as_bytes());
    let trusting = json!({"server": facts.server, "certificate-authority": file});
    plan.kubeconfig(&kubeconfig(&trusting, &json!({"token": plan.ground.token()})));
    let site = plan.start_serving();
    let machines = site.hf.bring_up("small", 6);
    let names = slices(&machines);

    // The API server comes back with a certificate of another authority. Administrators have it already; the rest of
    // this control plane has not, and is not needed any more.
    let authority = Authority::new("the cluster's next authority");
    let server = authority.identity("kube-apiserver", &["localhost", "127.0.0.1"]);
    own.kill_api_server();
    template::replace(&facts.certificates.join("kube-apiserver.key"), server.key.as_bytes());
    template::replace(&facts.certificates.join("kube-apiserver.crt"), server.certificate.as_bytes());
    template::replace(&facts.authority, format!("{}{old}", authority.pem()).as_bytes());
    own.start_api_server().expect("the API server starts again");
    site.hf.wait_says(&["certificate", "unknownissuer"]);
    holds_for("a certificate that is not trusted is no verdict", Duration::from_secs(3), || {
        site.hf.reclaims(&names).is_empty()
    });

    // An administrator adds it to the file; nobody touches the kubeconfig.
    template::replace(&file, format!("{old}{}", authority.pem()).as_bytes());
    site.hf.wait_serving();
    assert!(site.hf.reclaims(&names).is_empty());
    let asked = site.hf.request("small", 1);
    let pod = format!("/api/v1/namespaces/{}/pods/{asked}-00000", site.ground.namespace());
    eventually("a pod is made", PATIENCE, || facts.admin().json("GET", &pod, None).ok());
}

#[test]
fn a_bundle_is_searched_for_the_authority_and_a_wrong_one_is_said() {
    let facts = testbed();
    let right = fs::read_to_string(&facts.authority).expect("the testbed's certificates can be read");
    let wrong = Authority::new("somebody else's").pem();
    let plan = Plan::new(&facts, 1);
    let file = plan.file("bundle.crt", wrong.as_bytes());
    let trusting = json!({"server": facts.server, "certificate-authority": file});
    let user = json!({"token": plan.ground.token()});
    plan.kubeconfig(&kubeconfig(&trusting, &user));
    let site = plan.start();
    site.hf.wait_says(&["certificate", "unknownissuer", "cluster_unreachable"]);

    template::replace(&file, format!("{wrong}# a comment, as bundles have them\n{right}").as_bytes());
    site.kubeconfig(&kubeconfig(&trusting, &user));
    site.hf.wait_serving();
    works(&site.hf);
}

#[test]
fn verification_is_skipped_where_the_kubeconfig_says_so() {
    let facts = testbed();
    let plan = Plan::new(&facts, 1);
    let cluster = json!({"server": facts.server, "insecure-skip-tls-verify": true});
    plan.kubeconfig(&kubeconfig(&cluster, &json!({"token": plan.ground.token()})));
    works(&plan.start_serving().hf);
}

#[test]
fn the_server_may_be_known_by_another_name_than_its_address() {
    let facts = testbed();
    let plan = Plan::new(&facts, 1);
    let named = |name: &str| {
        let mut cluster = cluster(&facts);
        cluster["tls-server-name"] = json!(name);
        kubeconfig(&cluster, &json!({"token": plan.ground.token()}))
    };
    let (wrong, right) = (named("elsewhere.example"), named("kubernetes.default.svc"));
    plan.kubeconfig(&wrong);
    let site = plan.start();
    site.hf.wait_says(&["certificate", "name"]);
    site.kubeconfig(&right);
    site.hf.wait_serving();
    works(&site.hf);
}

fn append(file: &Path, text: &str) {
    let mut file = fs::OpenOptions::new().append(true).open(file).expect("the testbed's certificates are files");
    file.write_all(text.as_bytes()).expect("the testbed's directory can be written");
}

/// Binds the shipped Role, and the ClusterRole, to the certificate's user.
#[track_caller]
fn permit(ground: &Ground) {
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let namespace = ground.namespace();
    let binding = |kind: &str, role_kind: &str, role: &str| -> Value {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": USER},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}],
        })
    };
    let bindings = format!("{rbac}/namespaces/{namespace}/rolebindings");
    must(ground.admin(), "POST", &bindings, Some(&binding("RoleBinding", "Role", "hfd")));
    let role = format!("hfd-namespace-{namespace}");
    let bindings = format!("{rbac}/clusterrolebindings");
    must(ground.admin(), "POST", &bindings, Some(&binding("ClusterRoleBinding", "ClusterRole", &role)));
}

/// Waits until the API server knows the new authority and its user's permissions.
fn wait_known(facts: &Facts, ground: &Ground, identity: &Identity) {
    let authority = fs::read(&facts.authority).expect("the testbed's certificates can be read");
    let identity = Some((identity.certificate.as_bytes(), identity.key.as_bytes()));
    let path = format!("/api/v1/namespaces/{}/pods", ground.namespace());
    eventually("the API server knows the certificate's user", PATIENCE, || {
        let user = Endpoint::tls(&facts.server, &Tls { authority: &authority, identity }, None).ok()?;
        user.call("GET", &path, None).ok().filter(|answer| answer.code == 200)
    });
}
