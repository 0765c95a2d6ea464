//! The daemon on the real kernel: three hosts in namespaces, broken in every way, judged from the client and on the wire.
//! What is left on a host is asked of `ip` and `nft`, never of our own code.

mod faults;
mod keepalived;
mod kernel;
mod leftovers;
mod vrrp;
mod world;

use std::process::ExitCode;

use baton_lab::harness;

fn main() -> ExitCode {
    harness::main(&[
        (
            "every_fault_of_the_holder_costs_at_most_its_lease",
            faults::every_fault_of_the_holder_costs_at_most_its_lease,
        ),
        ("a_shorter_lease_is_a_shorter_outage", faults::a_shorter_lease_is_a_shorter_outage),
        ("a_killed_holder_that_is_started_again_goes_on", faults::a_killed_holder_that_is_started_again_goes_on),
        ("faults_of_a_standby_cost_nothing", faults::faults_of_a_standby_cost_nothing),
        ("both_families_move_without_two_answering", faults::both_families_move_without_two_answering),
        ("sixty_random_faults_and_never_two_answer", faults::sixty_random_faults_and_never_two_answer),
        ("a_rolling_restart_loses_hardly_a_connection", faults::a_rolling_restart_loses_hardly_a_connection),
        ("a_dead_server_is_left_out", faults::a_dead_server_is_left_out),
        ("a_stopped_holder_is_silent_even_with_dnat_rules", kernel::a_stopped_holder_is_silent_even_with_dnat_rules),
        ("pods_behind_a_standby_reach_the_address", kernel::pods_behind_a_standby_reach_the_address),
        ("a_second_interface_does_not_answer", kernel::a_second_interface_does_not_answer),
        ("a_flushed_ruleset_heals", kernel::a_flushed_ruleset_heals),
        ("a_deleted_address_heals", kernel::a_deleted_address_heals),
        ("sigterm_leaves_only_the_markers", leftovers::sigterm_leaves_only_the_markers),
        (
            "a_second_signal_ends_the_drain_and_leaves_nothing",
            leftovers::a_second_signal_ends_the_drain_and_leaves_nothing,
        ),
        ("kill_leaves_nothing_for_long", leftovers::kill_leaves_nothing_for_long),
        ("a_restart_after_kill_leaves_nothing", leftovers::a_restart_after_kill_leaves_nothing),
        (
            "an_address_left_by_another_program_is_taken_over",
            leftovers::an_address_left_by_another_program_is_taken_over,
        ),
        ("mixed_groups_have_one_master", vrrp::mixed_groups_have_one_master),
        (
            "a_killed_master_is_silent_when_the_backup_takes_over",
            vrrp::a_killed_master_is_silent_when_the_backup_takes_over,
        ),
        ("a_partition_that_heals_leaves_one_master", vrrp::a_partition_that_heals_leaves_one_master),
        (
            "an_address_added_on_one_side_makes_no_second_master",
            vrrp::an_address_added_on_one_side_makes_no_second_master,
        ),
        ("the_address_follows_the_balancer_of_its_process", vrrp::the_address_follows_the_balancer_of_its_process),
        ("scripts_move_the_address_and_are_told", vrrp::scripts_move_the_address_and_are_told),
        ("addresses_routes_and_rules_are_the_originals", keepalived::addresses_routes_and_rules_are_the_originals),
        ("a_virtual_mac_is_the_originals", keepalived::a_virtual_mac_is_the_originals),
        ("an_address_that_accepts_nothing_is_found", keepalived::an_address_that_accepts_nothing_is_found),
        ("virtual_servers_are_balanced", keepalived::virtual_servers_are_balanced),
        ("ttl_and_startup_delay", keepalived::ttl_and_startup_delay),
        ("what_is_tracked_takes_the_node_out", keepalived::what_is_tracked_takes_the_node_out),
    ])
}
