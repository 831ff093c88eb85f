//! What a user and a group have. An attribute that is not here is neither kept nor announced.

use super::{Attribute, DataType, Schema};

/// Attributes that every resource has (RFC 7643 §3.1).
pub(in crate::domain::scim) const COMMON: &[Attribute] = &[
    Attribute::text("schemas", "URNs of the schemas").multi().case_exact().read_only().always(),
    Attribute::text("id", "Id, made by the server").case_exact().read_only().always().unique(),
    Attribute::text("externalId", "Id, made by the client").case_exact(),
    Attribute::complex("meta", "About the resource itself", META).read_only(),
];

const META: &[Attribute] = &[
    Attribute::text("resourceType", "Kind of resource").case_exact().read_only(),
    Attribute::text("created", "When it was made").of_type(DataType::DateTime).read_only(),
    Attribute::text("lastModified", "When it was last changed").of_type(DataType::DateTime).read_only(),
    Attribute::text("location", "Its URL").reference(&["uri"]).read_only(),
    Attribute::text("version", "Its entity tag").case_exact().read_only(),
];

const NAME: &[Attribute] = &[
    Attribute::text("formatted", "The whole name"),
    Attribute::text("familyName", "Family name"),
    Attribute::text("givenName", "Given name"),
    Attribute::text("middleName", "Middle names"),
    Attribute::text("honorificPrefix", "Title before the name"),
    Attribute::text("honorificSuffix", "Title after the name"),
];

const PRIMARY: Attribute =
    Attribute::text("primary", "Whether it is the preferred one; at most one is").of_type(DataType::Boolean);

const EMAIL: &[Attribute] = &[
    Attribute::text("value", "The address").required(),
    Attribute::text("display", "For people"),
    Attribute::text("type", "What it is used for").canonical(&["work", "home", "other"]),
    PRIMARY,
];

const PHONE_NUMBER: &[Attribute] = &[
    Attribute::text("value", "The number"),
    Attribute::text("display", "For people"),
    Attribute::text("type", "What it is used for").canonical(&["work", "home", "mobile", "fax", "pager", "other"]),
    PRIMARY,
];

const ADDRESS: &[Attribute] = &[
    Attribute::text("formatted", "The whole address"),
    Attribute::text("streetAddress", "Street and number"),
    Attribute::text("locality", "City"),
    Attribute::text("region", "State or region"),
    Attribute::text("postalCode", "Postal code"),
    Attribute::text("country", "Country (ISO 3166-1 alpha-2)"),
    Attribute::text("type", "What it is used for").canonical(&["work", "home", "other"]),
    PRIMARY,
];

const GROUP_OF_USER: &[Attribute] = &[
    Attribute::text("value", "The group's id").case_exact().read_only(),
    Attribute::text("$ref", "The group's URL").reference(&["Group"]).read_only(),
    Attribute::text("display", "The group's name").read_only(),
    Attribute::text("type", "Always direct: groups have no groups in them").canonical(&["direct"]).read_only(),
];

/// A user (RFC 7643 §4.1).
pub const USER: Schema = Schema {
    id: "urn:ietf:params:scim:schemas:core:2.0:User",
    name: "User",
    description: "A user of the tenant",
    attributes: &[
        Attribute::text("userName", "Name by which the identity provider knows the user").required().unique(),
        Attribute::complex("name", "The parts of the name", NAME),
        Attribute::text("displayName", "Name that is shown"),
        Attribute::text("nickName", "Nickname"),
        Attribute::text("profileUrl", "A page about the user").reference(&["external"]),
        Attribute::text("title", "Title in the organisation"),
        Attribute::text("userType", "Relation to the organisation"),
        Attribute::text("preferredLanguage", "Language (RFC 9110 §12.5.4)"),
        Attribute::text("locale", "Locale (RFC 5646)"),
        Attribute::text("timezone", "Time zone (IANA)"),
        Attribute::text(
            "active",
            "Whether the user may sign in. False ends every session and revokes the API keys that the user made",
        )
        .of_type(DataType::Boolean)
        .required(),
        Attribute::complex(
            "emails",
            "E-mail addresses; the user signs in with the primary one. None is needed where userName is an address",
            EMAIL,
        )
        .multi()
        .required(),
        Attribute::complex("phoneNumbers", "Telephone numbers", PHONE_NUMBER).multi(),
        Attribute::complex("addresses", "Postal addresses", ADDRESS).multi(),
        Attribute::complex("groups", "Groups that the user is in", GROUP_OF_USER).multi().read_only(),
    ],
};

const MANAGER: &[Attribute] = &[
    Attribute::text("value", "The manager's id").case_exact(),
    Attribute::text("$ref", "The manager's URL").reference(&["User"]),
];

/// What organisations know of their people (RFC 7643 §4.3).
pub const ENTERPRISE: Schema = Schema {
    id: "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
    name: "EnterpriseUser",
    description: "What an organisation knows of a user",
    attributes: &[
        Attribute::text("employeeNumber", "Number of the employee"),
        Attribute::text("costCenter", "Cost centre"),
        Attribute::text("organization", "Organisation"),
        Attribute::text("division", "Division"),
        Attribute::text("department", "Department"),
        Attribute::complex("manager", "The user's manager", MANAGER),
    ],
};

const MEMBER: &[Attribute] = &[
    Attribute::text("value", "The user's id").case_exact(),
    Attribute::text("$ref", "The user's URL").reference(&["User"]),
    Attribute::text("type", "Kind of member").canonical(&["User"]),
];

/// A group (RFC 7643 §4.2).
pub const GROUP: Schema = Schema {
    id: "urn:ietf:params:scim:schemas:core:2.0:Group",
    name: "Group",
    description: "A group of users; the tenant's admins say which role it gives",
    attributes: &[
        Attribute::text("displayName", "Name of the group").required().unique(),
        Attribute::complex("members", "Users in the group", MEMBER).multi(),
    ],
};
