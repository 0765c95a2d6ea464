//! `manager` on a real Kubernetes cluster: API servers, etcd, controllers and kube-proxy on hosts in namespaces, broken in every
//! way, judged from a client, on the wire, and by what the API says.

mod access;
mod cloud;
mod control;
mod mixed;
mod options;
mod services;
mod world;

use std::process::ExitCode;

use baton_lab::harness::{self, Test};

const TESTS: &[Test] = &[
    ("the_address_is_where_the_lease_says", control::the_address_is_where_the_lease_says),
    ("both_families_are_kept", control::both_families_are_kept),
    ("sigterm_hands_over_at_once_and_leaves_nothing", control::sigterm_hands_over_at_once_and_leaves_nothing),
    ("a_restart_within_the_lease_is_not_felt", control::a_restart_within_the_lease_is_not_felt),
    ("a_killed_daemon_is_silent", control::a_killed_daemon_is_silent),
    ("a_stopped_daemon_is_silent", control::a_stopped_daemon_is_silent),
    ("a_power_failure_costs_a_lease", control::a_power_failure_costs_a_lease),
    ("a_pulled_cable_costs_a_lease", control::a_pulled_cable_costs_a_lease),
    ("a_node_that_is_cut_off_costs_a_lease", control::a_node_that_is_cut_off_costs_a_lease),
    (
        "a_daemon_without_an_api_server_gives_the_address_up",
        control::a_daemon_without_an_api_server_gives_the_address_up,
    ),
    ("a_dead_local_api_server_moves_the_address", control::a_dead_local_api_server_moves_the_address),
    ("a_hanging_local_api_server_moves_the_address", control::a_hanging_local_api_server_moves_the_address),
    ("an_outage_of_all_api_servers_is_survived", control::an_outage_of_all_api_servers_is_survived),
    ("it_starts_before_the_api_server", control::it_starts_before_the_api_server),
    ("without_a_name_the_host_name_is_the_identity", control::without_a_name_the_host_name_is_the_identity),
    ("sigusr1_prints_the_configuration_again_and_again", control::sigusr1_prints_the_configuration_again_and_again),
    ("what_kube_vip_left_is_removed", control::what_kube_vip_left_is_removed),
    ("node_by_node_and_back", mixed::node_by_node_and_back),
    ("a_late_release_by_another_program_makes_no_two", mixed::a_late_release_by_another_program_makes_no_two),
    ("one_election_announces_at_the_holder_of_its_lease", services::one_election_announces_at_the_holder_of_its_lease),
    ("one_election_and_local_traffic", services::one_election_and_local_traffic),
    ("an_address_goes_with_its_last_service", services::an_address_goes_with_its_last_service),
    ("one_election_follows_endpoints", services::one_election_follows_endpoints),
    ("a_lease_each_follows_endpoints", services::a_lease_each_follows_endpoints),
    ("a_lease_each_follows_local_endpoints", services::a_lease_each_follows_local_endpoints),
    ("a_lease_each_announces_at_its_holder", services::a_lease_each_announces_at_its_holder),
    ("an_election_of_its_own_on_demand", services::an_election_of_its_own_on_demand),
    ("services_that_share_a_named_lease_are_together", services::services_that_share_a_named_lease_are_together),
    ("both_families_of_a_service", services::both_families_of_a_service),
    ("local_traffic_follows_its_pod", services::local_traffic_follows_its_pod),
    ("a_service_without_address_delays_nobody", services::a_service_without_address_delays_nobody),
    ("changes_take_effect", services::changes_take_effect),
    ("a_lost_or_cleared_lease_is_found_again", services::a_lost_or_cleared_lease_is_found_again),
    ("a_deleted_endpoint_slice_is_no_end", services::a_deleted_endpoint_slice_is_no_end),
    ("a_storm_of_changes_ends_where_it_should", services::a_storm_of_changes_ends_where_it_should),
    ("nothing_is_left_of_the_control_plane", services::nothing_is_left_of_the_control_plane),
    ("nothing_is_left_of_services", services::nothing_is_left_of_services),
    ("nothing_is_left_of_services_with_a_lease_each", services::nothing_is_left_of_services_with_a_lease_each),
    ("nothing_is_left_of_both", services::nothing_is_left_of_both),
    ("nothing_is_left_of_both_with_a_lease_each", services::nothing_is_left_of_both_with_a_lease_each),
    ("what_a_crash_left_is_removed_at_the_next_start", services::what_a_crash_left_is_removed_at_the_next_start),
    ("a_stop_before_anything_was_read_leaves_nothing", services::a_stop_before_anything_was_read_leaves_nothing),
    ("a_follower_without_api_changes_nothing", services::a_follower_without_api_changes_nothing),
    ("a_balancer_leads_to_the_api_servers_that_answer", options::a_balancer_leads_to_the_api_servers_that_answer),
    ("a_balancer_at_the_api_servers_own_port", options::a_balancer_at_the_api_servers_own_port),
    ("only_a_services_own_ports_are_let_in", options::only_a_services_own_ports_are_let_in),
    ("the_address_of_a_name_is_followed", options::the_address_of_a_name_is_followed),
    ("a_preserved_address_is_silent", options::a_preserved_address_is_silent),
    ("metrics_say_who_leads", services::metrics_say_who_leads),
    ("it_is_explained", services::it_is_explained),
    ("the_published_rights_suffice", access::the_published_rights_suffice),
    ("the_published_rights_suffice_with_a_lease_each", access::the_published_rights_suffice_with_a_lease_each),
    ("the_generated_rights_suffice", access::the_generated_rights_suffice),
    ("the_least_rights_suffice", access::the_least_rights_suffice),
    ("the_least_rights_suffice_with_a_lease_each", access::the_least_rights_suffice_with_a_lease_each),
    ("generated_manifests_are_valid", access::generated_manifests_are_valid),
    ("services_get_addresses_from_the_pool", cloud::services_get_addresses_from_the_pool),
];

fn main() -> ExitCode {
    harness::main(TESTS)
}
