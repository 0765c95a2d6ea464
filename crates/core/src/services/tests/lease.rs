//! Which Lease governs an address, who campaigns for it, and what happens when it becomes another one.

use super::*;

#[test]
fn one_lease_governs_all_unless_each_has_its_own() {
    let of = |options: Options, service: Service| {
        let mut node = Node::new(options);
        node.backed(service);
        node.services.all_wanted().map(|wanted| wanted.lease.to_string()).collect::<String>()
    };
    let web = || service("web").at("10.0.0.5");
    let demand = || Options { on_demand: true, ..options() };
    let forced = || web().with("forcePerServiceElection", "true");
    assert_eq!(of(options(), web()), "kube-system/plndr-svcs-lock");
    assert_eq!(of(per_service(), web()), "default/kubevip-web");
    assert_eq!(of(per_service(), web().with("leaseName", "common")), "default/common");
    assert_eq!(of(per_service(), web().with("leaseName", "apps/common")), "apps/common");
    assert_eq!(of(demand(), web()), "kube-system/plndr-svcs-lock");
    assert_eq!(of(demand(), forced()), "default/kubevip-web");
    assert_eq!(of(demand(), forced().with("leaseName", "apps/common")), "apps/common");
    // Without what makes them count, these annotations change nothing.
    assert_eq!(of(options(), forced()), "kube-system/plndr-svcs-lock");
    assert_eq!(of(options(), web().with("leaseName", "apps/common")), "kube-system/plndr-svcs-lock");
}

#[test]
fn a_node_campaigns_for_what_it_may_announce() {
    let mut node = Node::new(per_service());
    let own = lease("default/kubevip-web");
    assert!(!node.services.campaigns(&own));
    assert!(!node.services.campaigns(&lease("kube-system/plndr-svcs-lock")));
    let touched = node.backed(service("web").at("10.0.0.5"));
    assert_eq!(touched.leases, BTreeSet::from([own.clone()]));
    assert!(node.services.campaigns(&own));
    // Without endpoints the Lease is given up, with them it is campaigned for again.
    let touched = node.take(Change::SliceGone(Key::new("default", "web-abcde")));
    assert_eq!((touched.leases, touched.addresses), (BTreeSet::from([own.clone()]), BTreeSet::from([ip("10.0.0.5")])));
    assert!(!node.services.campaigns(&own));
    node.take(Change::Slice(slice("web", &["node-2"])));
    assert!(node.services.campaigns(&own));
    // The Lease for all is campaigned for, whatever there is.
    assert!(Node::new(options()).services.campaigns(&lease("kube-system/plndr-svcs-lock")));
}

#[test]
fn a_common_lease_is_campaigned_for_until_its_last_service_is_gone() {
    let mut node = Node::new(per_service());
    let common = lease("default/common");
    node.backed(service("a").at("10.0.0.5").with("leaseName", "common"));
    let touched = node.backed(service("b").at("10.0.0.6").with("leaseName", "common"));
    assert!(touched.leases.is_empty());
    assert!(node.take(Change::ServiceGone(Key::new("default", "a"))).leases.is_empty());
    assert!(node.services.campaigns(&common));
    assert_eq!(node.take(Change::ServiceGone(Key::new("default", "b"))).leases, BTreeSet::from([common]));
}

#[test]
fn a_shared_address_stays_until_its_last_service_is_gone_and_has_the_oldest_ones_lease() {
    let mut node = Node::new(per_service());
    let older = Service { created: "2025-01-01T00:00:00Z".into(), ..service("z").at("10.0.0.5") };
    node.backed(older);
    node.backed(service("a").at("10.0.0.5"));
    assert_eq!(node.wanted(), ["10.0.0.5/32 eth0 default/kubevip-z"]);
    assert!(!node.services.campaigns(&lease("default/kubevip-a")));
    // Endpoints of any of the two keep it.
    node.take(Change::SliceGone(Key::new("default", "z-abcde")));
    assert_eq!(node.wanted(), ["10.0.0.5/32 eth0 default/kubevip-z"]);
    node.holder("default/kubevip-z", "node-1");
    let touched = node.take(Change::ServiceGone(Key::new("default", "z")));
    assert_eq!(node.wanted(), ["10.0.0.5/32 eth0 default/kubevip-a"]);
    assert_eq!(touched.leases, BTreeSet::from([lease("default/kubevip-z"), lease("default/kubevip-a")]));
    assert!(touched.services.contains(&Key::new("default", "a")));
    node.take(Change::ServiceGone(Key::new("default", "a")));
    assert!(node.wanted().is_empty());
}

#[test]
fn an_address_whose_lease_changes_waits_for_the_former_holder_unless_that_is_this_node() {
    let renamed = || Change::Service(service("web").at("10.0.0.5").with("leaseName", "common"));
    let start = |holder: &str| {
        let mut node = Node::new(per_service());
        node.backed(service("web").at("10.0.0.5"));
        node.holder("default/kubevip-web", holder);
        node
    };
    let after = ["10.0.0.5/32 eth0 default/common"];
    // Held here: this node goes on under the new Lease.
    let mut node = start("node-1");
    node.take(renamed());
    assert_eq!(node.wanted(), after);
    // Held elsewhere: nothing before that Lease has run out.
    let mut node = start("node-2");
    let touched = node.take(renamed());
    assert_eq!(touched.leases, BTreeSet::from([lease("default/kubevip-web")]));
    assert!(node.wanted().is_empty());
    assert!(!node.services.campaigns(&lease("default/common")));
    assert_eq!(node.verdict("web"), Verdict::Nowhere(Why::Former(lease("default/kubevip-web"))));
    assert_eq!(node.services.deadline(), Some(node.now + Duration::from_secs(15)));
    node.wait(14);
    assert!(node.wanted().is_empty());
    let touched = node.wait(1);
    assert_eq!(
        (node.wanted(), touched.leases),
        (after.map(String::from).to_vec(), BTreeSet::from([lease("default/common")]))
    );
    assert_eq!(node.services.deadline(), None);
    // Or until it is given up.
    let mut node = start("node-2");
    node.take(renamed());
    node.holder("default/kubevip-web", "");
    assert_eq!(node.wanted(), after);
    // Back to the Lease of before: nobody can hold it by the one in between but by that one.
    let mut node = start("node-2");
    node.take(renamed());
    node.take(Change::Service(service("web").at("10.0.0.5")));
    assert_eq!(node.verdict("web"), Verdict::There("node-2".into()));
    assert_eq!(node.services.waits_for(ip("10.0.0.5")), Some(&lease("default/common")));
}

#[test]
fn an_address_that_changes_its_service_waits_for_the_deleted_ones_lease() {
    let mut node = Node::new(per_service());
    node.backed(service("old").at("10.0.0.5"));
    node.holder("default/kubevip-old", "node-2");
    node.take(Change::ServiceGone(Key::new("default", "old")));
    node.backed(service("new").at("10.0.0.5"));
    assert!(node.wanted().is_empty());
    node.wait(15);
    assert_eq!(node.wanted(), ["10.0.0.5/32 eth0 default/kubevip-new"]);
    // What the first list says was so before: nobody waits for an order in which it happened to come.
    let mut node = Node { services: Services::new(per_service()), now: Time::ZERO };
    let older = Service { created: "2025-01-01T00:00:00Z".into(), ..service("z").at("10.0.0.5") };
    node.take(Change::Host(host()));
    node.take(Change::Services(vec![service("a").at("10.0.0.5"), older]));
    assert!(node.wanted().is_empty());
    node.take(Change::Slices(vec![slice("a", &["node-1"])]));
    assert_eq!(node.wanted(), ["10.0.0.5/32 eth0 default/kubevip-z"]);
}

#[test]
fn an_address_of_the_control_plane_is_governed_by_the_control_planes_lease() {
    let mut node = Node::new(Options {
        control_plane: vec![ip("10.0.0.100")],
        control_plane_lease: Some(lease("kube-system/plndr-cp-lock")),
        security: true,
        ..options()
    });
    node.backed(service("web").at("10.0.0.100"));
    assert_eq!(node.wanted(), ["10.0.0.100/32 eth0 kube-system/plndr-cp-lock"]);
    assert_eq!(node.services.security(ip("10.0.0.100")), Security::Open);
}
