"""What python3-saml (over xmlsec and libxml2) thinks of a response: the second opinion of the abuse corpus."""

from onelogin.saml2.constants import OneLogin_Saml2_Constants
from onelogin.saml2.response import OneLogin_Saml2_Response
from onelogin.saml2.settings import OneLogin_Saml2_Settings
from onelogin.saml2.utils import OneLogin_Saml2_Utils


class Oracle:
    """One connection, configured as strictly as python3-saml can be while it takes what the corpus means to be good."""

    def __init__(self, world, sp_certificate_pem, sp_key_pem):
        self.world = world
        # It reads the clock itself; the corpus has its own present, and the skew that the program grants.
        OneLogin_Saml2_Utils.now = staticmethod(lambda: int(world.now.timestamp()))
        OneLogin_Saml2_Constants.ALLOWED_CLOCK_DRIFT = 60
        host = world.acs.split("/")[2]
        self.request = {
            "https": "on" if world.acs.startswith("https:") else "off",
            "http_host": host,
            "script_name": "/" + world.acs.split("/", 3)[3],
            "get_data": {},
            "post_data": {},
        }
        self.settings = OneLogin_Saml2_Settings(
            {
                "strict": True,
                "debug": False,
                "sp": {
                    "entityId": world.sp_entity,
                    "assertionConsumerService": {"url": world.acs},
                    "x509cert": sp_certificate_pem,
                    "privateKey": sp_key_pem,
                },
                "idp": {
                    "entityId": world.idp_entity,
                    "singleSignOnService": {"url": "https://idp.example/sso"},
                    "x509certMulti": {"signing": [signer.base64() for signer in world.trusted()]},
                },
                "security": {"rejectDeprecatedAlgorithm": True, "wantAttributeStatement": False, "wantNameId": True},
            },
            sp_validation_only=False,
        )

    def ask(self, response_base64, request_id):
        """(`accepted` or `refused`, the NameID or why not)."""
        try:
            response = OneLogin_Saml2_Response(self.settings, response_base64)
            response.is_valid(self.request, request_id, raise_exceptions=True)
            # Asked for like this by its users, and it refuses duplicates only then.
            response.get_attributes()
            return "accepted", response.get_nameid()
        except Exception as error:  # noqa: BLE001 - whatever it raises is a refusal
            return "refused", f"{type(error).__name__}: {error}"[:200]
