//! Who may do what to whom: one rule for groups and channels.

words! {
    /// The rank of a member. Of two, the later one is above.
    Role {
        /// Takes part.
        Member = "member",
        /// Leads: changes, invites, removes members.
        Admin = "admin",
        /// Leads the admins too. A group always has one.
        Owner = "owner",
    }
}

/// What a member does to its group or channel, or to another person there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Makes a channel in the group.
    MakeChannel,
    /// Changes what it is called, who sees it and who posts. Archives a channel.
    Edit,
    /// Archives the group with all its channels.
    Archive,
    /// Makes and revokes links into the group.
    Invite,
    /// Adds people.
    Add,
    /// Removes a person.
    Remove,
    /// Removes a person for good, who may be no member.
    Ban,
    /// Sees who is banned, and lets them come back.
    Pardon,
    /// Gives another member this rank.
    Assign(Role),
}

/// Whether a member of this rank may do this to somebody of that rank. `target` is none for people who are no members, and
/// where there is no other person.
///
/// Nobody acts on somebody of the own rank or above, and nobody gives a rank above the own one. What one does to oneself
/// (leave, step down) is not decided here.
pub fn may(actor: Role, action: Action, target: Option<Role>) -> bool {
    let leads = actor >= Role::Admin;
    let is_above = target.is_none_or(|target| target < actor);
    match action {
        Action::MakeChannel => true,
        Action::Edit | Action::Invite | Action::Add | Action::Pardon => leads,
        Action::Archive => actor == Role::Owner,
        Action::Remove | Action::Ban => leads && is_above,
        Action::Assign(role) => leads && is_above && role <= actor,
    }
}

/// The rank in a channel, of the ranks in the channel and in its group. Who leads the group leads each channel that it is in.
pub fn effective(in_room: Role, in_group: Option<Role>) -> Role {
    in_group.filter(|role| *role >= Role::Admin).map_or(in_room, |role| role.max(in_room))
}

#[cfg(test)]
mod tests {
    use super::{Action::*, Role::*, *};

    /// Each action, and for each target (nobody, a member, an admin, an owner) the ranks that may: `m`, `a`, `o`.
    const TABLE: [(Action, [&str; 4]); 11] = [
        (MakeChannel, ["mao", "mao", "mao", "mao"]),
        (Edit, ["ao", "ao", "ao", "ao"]),
        (Archive, ["o", "o", "o", "o"]),
        (Invite, ["ao", "ao", "ao", "ao"]),
        (Add, ["ao", "ao", "ao", "ao"]),
        (Remove, ["ao", "ao", "o", ""]),
        (Ban, ["ao", "ao", "o", ""]),
        (Pardon, ["ao", "ao", "ao", "ao"]),
        (Assign(Member), ["ao", "ao", "o", ""]),
        (Assign(Admin), ["ao", "ao", "o", ""]),
        (Assign(Owner), ["o", "o", "o", ""]),
    ];

    #[test]
    fn the_table_of_ranks_holds_in_every_cell() {
        for (action, row) in TABLE {
            for (target, allowed) in [None, Some(Member), Some(Admin), Some(Owner)].into_iter().zip(row) {
                for (actor, letter) in [(Member, 'm'), (Admin, 'a'), (Owner, 'o')] {
                    let expected = allowed.contains(letter);
                    assert_eq!(may(actor, action, target), expected, "{actor:?} {action:?} {target:?}");
                }
            }
        }
    }
}
