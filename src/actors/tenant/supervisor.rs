//! The tenant's supervisor: the one writer of its published view.

use std::sync::Arc;
use std::time::Duration;

use super::handle::TenantHandle;
use super::loader::{LoadError, Loaded, Loader};
use super::messages::{RebuildTenant, ReloadError, ReloadTenant, RevokeApiKey, RevokeSession, UsageCounted};
use super::state::{ReloadStep, Reloads, Revocations, RevokedKeys};
use super::view::TenantView;
use crate::actors::ask::{ChildActor, Ctx, Handle, Responder};
use crate::clock;

/// Wait before a tenant that could not be read is read again.
const RELOAD_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Owns one tenant's cached state while the tenant is active.
#[derive(Debug)]
pub struct TenantSupervisor {
    handle: Arc<TenantHandle>,
    loader: Loader,
    revocations: Revocations,
    revoked_keys: RevokedKeys,
    reloads: Reloads,
    /// Whom the read under way will answer.
    waiting: Vec<Responder<ReloadTenant>>,
    /// Whom only the read after it can answer, because they came while it ran.
    waiting_for_next: Vec<Responder<ReloadTenant>>,
}

impl TenantSupervisor {
    /// Takes over a tenant whose handle shows a fresh view.
    #[must_use]
    pub fn adopt(handle: Arc<TenantHandle>, loader: Loader) -> Self {
        let revocations = Revocations::new(Arc::clone(&handle.view().revoked_sessions));
        Self {
            handle,
            loader,
            revocations,
            revoked_keys: RevokedKeys::default(),
            reloads: Reloads::default(),
            waiting: Vec::new(),
            waiting_for_next: Vec::new(),
        }
    }

    /// Rebuilds a tenant from the database after its supervisor died.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn rebuild(handle: Arc<TenantHandle>, loader: Loader) -> Result<Self, LoadError> {
        let Loaded { view, quotas } = loader.load(handle.id()).await?;
        handle.publish(view);
        handle.publish_quotas(&quotas);
        Ok(Self::adopt(handle, loader))
    }

    fn start_reload(&mut self, ctx: &mut Ctx<'_, Self>) {
        let (loader, id) = (self.loader.clone(), self.handle.id());
        ctx.spawn(async move { loader.reload(id).await }, Self::finish_reload);
    }

    fn finish_reload(&mut self, loaded: Result<Loaded, LoadError>, ctx: &mut Ctx<'_, Self>) {
        let loaded = loaded.map(|Loaded { mut view, quotas }| {
            view.revoked_sessions = self.revocations.merge(&view.revoked_sessions, clock::now_s());
            view.api_keys = self.revoked_keys.strike_out(view.api_keys);
            let version = view.tenant.config_version;
            self.handle.publish(view);
            self.handle.publish_quotas(&quotas);
            version
        });
        if let Err(error) = &loaded {
            tracing::warn!(tenant.id = %self.handle.id(), error = %error, "the tenant was not reloaded");
            if !matches!(error, LoadError::Gone) {
                // The change that asked for it will not be announced again.
                ctx.run_later(RELOAD_AGAIN_AFTER, |actor, ctx| {
                    if actor.reloads.wish() == ReloadStep::Start {
                        actor.start_reload(ctx);
                    }
                });
            }
        }
        for responder in self.waiting.drain(..) {
            responder.answer(match &loaded {
                Ok(version) => Ok(*version),
                Err(LoadError::Gone) => Err(ReloadError::Gone),
                Err(LoadError::Db(_) | LoadError::Sessions(_) | LoadError::Keys(_)) => Err(ReloadError::Unavailable),
            });
        }
        if self.reloads.ended() {
            self.waiting.append(&mut self.waiting_for_next);
            self.start_reload(ctx);
        }
    }
}

impl ChildActor for TenantSupervisor {
    const KIND: &'static str = "tenant";
}

impl Handle<ReloadTenant> for TenantSupervisor {
    fn handle(&mut self, message: ReloadTenant, responder: Responder<ReloadTenant>, ctx: &mut Ctx<'_, Self>) {
        let version = self.handle.view().tenant.config_version;
        if message.at_least.is_some_and(|wanted| wanted <= version) {
            responder.reply(version);
            return;
        }
        match self.reloads.wish() {
            ReloadStep::Start => {
                self.waiting.push(responder);
                self.start_reload(ctx);
            }
            ReloadStep::Queued => self.waiting_for_next.push(responder),
        }
    }
}

impl Handle<RevokeSession> for TenantSupervisor {
    fn handle(&mut self, message: RevokeSession, responder: Responder<RevokeSession>, _ctx: &mut Ctx<'_, Self>) {
        let now_s = clock::now_s();
        let until_s = now_s + self.loader.token_life_s();
        if let Some(table) = self.revocations.add(message.session, until_s, now_s) {
            let mut view = TenantView::clone(&self.handle.view());
            view.revoked_sessions = table;
            self.handle.publish(view);
        }
        responder.reply(());
    }
}

impl Handle<RevokeApiKey> for TenantSupervisor {
    fn handle(&mut self, message: RevokeApiKey, responder: Responder<RevokeApiKey>, _ctx: &mut Ctx<'_, Self>) {
        let shown = Arc::clone(&self.handle.view().api_keys);
        let left = self.revoked_keys.add(message.key, &shown, self.reloads.is_running());
        if let Some(left) = left {
            let mut view = TenantView::clone(&self.handle.view());
            view.api_keys = left;
            self.handle.publish(view);
        }
        responder.reply(());
    }
}

impl Handle<UsageCounted> for TenantSupervisor {
    fn handle(&mut self, message: UsageCounted, responder: Responder<UsageCounted>, _ctx: &mut Ctx<'_, Self>) {
        self.handle.publish_quotas(&message.quotas);
        responder.reply(());
    }
}

impl Handle<RebuildTenant> for TenantSupervisor {
    fn handle(&mut self, _message: RebuildTenant, _responder: Responder<RebuildTenant>, _ctx: &mut Ctx<'_, Self>) {
        tracing::warn!(tenant.id = %self.handle.id(), "the tenant's supervisor was told to panic");
        // Unwinds as a panic does, without the hook that prints one: this one was asked for.
        std::panic::resume_unwind(Box::new("asked to rebuild"));
    }
}
