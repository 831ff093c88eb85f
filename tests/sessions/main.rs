//! What every store of sessions must do: one suite, run on a real PostgreSQL and on a real Redis.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout, reason = "tests")]

mod connections;
mod races;
mod suite;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other test binaries use the rest")]
mod support;
#[path = "../support/redis.rs"]
mod test_redis;
mod world;

macro_rules! on_both_stores {
    ($($module:ident::$name:ident,)*) => {
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                crate::$module::$name(&crate::world::World::postgres().await).await;
            })*
        }

        mod redis {
            $(#[tokio::test]
            async fn $name() {
                crate::$module::$name(&crate::world::World::redis().await).await;
            })*
        }
    };
}

on_both_stores! {
    suite::what_is_inserted_is_found,
    suite::a_rotation_counts_up_and_moves_the_idle_end_but_not_beyond_the_absolute_one,
    suite::an_older_counter_never_rotates,
    suite::a_session_that_ran_out_is_dead_by_either_end,
    suite::a_factor_raises_the_class_and_adds_its_method_once,
    suite::a_factor_leaves_no_refresh_token_of_before_with_a_grace,
    suite::an_ended_session_stays_ended_and_is_told_once,
    suite::all_but_one_of_a_users_sessions_end,
    suite::the_list_shows_what_is_alive_the_latest_used_first,
    suite::an_unknown_session_is_nothing,
    suite::the_user_is_read_anew_each_time,
    suite::sessions_of_an_earlier_epoch_are_not_listed,
    suite::tenants_do_not_see_each_others_sessions,
    suite::every_end_is_announced_at_the_commit_and_none_without_it,
    suite::an_expired_sessions_tokens_can_still_be_revoked,
    races::a_hundred_rotations_of_one_counter_have_one_winner,
    races::no_session_survives_a_revocation_beside_a_rotation,
    races::a_revocation_of_all_beside_rotations_leaves_none,
}
