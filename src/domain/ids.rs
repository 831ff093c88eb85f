//! Ids as types, so that a user's id cannot stand where a tenant's belongs. All are UUIDv7 (RFC 9562), made by
//! [`crate::clock::new_id`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// The bare UUID.
            #[must_use]
            pub fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

id_type!(
    /// A customer of the SaaS: the owner of rows.
    TenantId
);
id_type!(
    /// A user of one tenant.
    UserId
);
id_type!(
    /// A key pair of the platform's, for one SAML connection.
    SamlKeyId
);
id_type!(
    /// A sign-in of one user: one refresh-token family.
    SessionId
);
id_type!(
    /// Usage that was set aside for one call.
    ReservationId
);
id_type!(
    /// A second factor of one user.
    FactorId
);
id_type!(
    /// A tenant's connection to an identity provider.
    ConnectionId
);
id_type!(
    /// One API key of a tenant.
    ApiKeyId
);
id_type!(
    /// One invitation.
    InvitationId
);
id_type!(
    /// One invoice or credit note.
    InvoiceId
);
id_type!(
    /// One mail of a tenant's outbox.
    MailId
);
id_type!(
    /// One row of a tenant's audit log.
    AuditId
);
id_type!(
    /// One request to Stripe.
    StripeRequestId
);
id_type!(
    /// One checkout that was begun.
    CheckoutId
);
id_type!(
    /// What Stripe collects of one invoice.
    CollectionId
);
id_type!(
    /// Money that goes back by Stripe because of one credit note.
    RefundId
);
id_type!(
    /// One thing that happened to a tenant's money.
    PaymentEventId
);
id_type!(
    /// One token of a tenant's identity provider, for SCIM.
    ScimTokenId
);
id_type!(
    /// One group that a tenant's identity provider keeps.
    ScimGroupId
);
