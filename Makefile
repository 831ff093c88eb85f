# The commands of this project; each is a script under scripts/, which says what it does at its top.
# Build output goes to ~/.cache/businessos/target unless CARGO_TARGET_DIR says otherwise.

.DEFAULT_GOAL := help
.PHONY: help run demo-billing test check fuzz bench fmt sqlx-prepare setup clean-data scim-check saml-fuzz

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

run: ## start everything with a demo tenant, and print what to try (Ctrl-C stops it)
	@scripts/run.sh

demo-billing: ## subscribe, pay, close the month, mail the invoice: with a stand-in for Stripe, offline, in a minute
	@scripts/demo-billing.sh $(ARGS)

test: ## run every test (ARGS="name" runs the tests with that in their name)
	@scripts/test.sh $(ARGS)

check: ## format, lints, documentation, .sqlx/, licences: what CI asks before it runs the tests
	@scripts/check.sh

scim-check: ## have scim2-tester check a server of its own: every check must succeed
	@scripts/scim-check.sh

fuzz: ## send made-up requests from the OpenAPI document to a server of its own (ARGS=100: so many for each operation)
	@scripts/schemathesis.sh $(ARGS)

saml-fuzz: ## change SAML responses and metadata at random with libFuzzer (ARGS=600: for so many seconds each)
	@scripts/saml-fuzz.sh $(ARGS)

bench: ## measure against the alternatives on this machine; writes docs/benchmarks.md
	@scripts/bench.sh $(ARGS)

fmt: ## format the code
	@cargo fmt --all

sqlx-prepare: ## describe the queries again after a change of SQL or of migrations
	@scripts/sqlx-prepare.sh

setup: ## install what running, testing and measuring need (run, test and bench do it themselves)
	@scripts/setup.sh bench

clean-data: ## delete the local database and everything else under data/
	@scripts/clean-data.sh
