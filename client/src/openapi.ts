/** Generated from openapi.json by `npm run docs`. */

export interface paths {
    "/.well-known/jwks.json": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Public keys of the access tokens and of the audit checkpoints (RFC 7517)
         * @description For whoever wants to verify access tokens, or checkpoints of audit logs.
         */
        get: operations["key.list"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/api-keys": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Keys in force, newest first
         * @description Needs the role `admin` or a higher one. Not for API keys.
         */
        get: operations["api_key.list"];
        put?: never;
        /**
         * Create a key; it is shown once
         * @description A workspace has up to 100; those that have expired make room.
         *
         *     Needs the role `admin` or a higher one. Needs a proof that is not older than 15 minutes (`POST /auth/step-up`). Not for API keys.
         */
        post: operations["api_key.create"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/api-keys/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Revoke a key at once
         * @description Needs the role `admin` or a higher one. Not for API keys.
         */
        delete: operations["api_key.revoke"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/assets": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Assets, newest first
         * @description Needs the role `viewer` or a higher one. An API key needs the scope `asset.list`.
         */
        get: operations["asset.list"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/assets/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * One asset
         * @description Needs the role `viewer` or a higher one. An API key needs the scope `asset.get`.
         */
        get: operations["asset.get"];
        put?: never;
        post?: never;
        /**
         * Delete an asset and its file
         * @description Needs the role `member` or a higher one. An API key needs the scope `asset.delete`.
         */
        delete: operations["asset.delete"];
        options?: never;
        head?: never;
        /**
         * Rename or tag an asset
         * @description Of a name that is a path, here as wherever a file is named, its last segment counts.
         *
         *     Needs the role `member` or a higher one. An API key needs the scope `asset.update`.
         */
        patch: operations["asset.update"];
        trace?: never;
    };
    "/api/v1/assets/{id}/checks": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Hold an asset against a channel's rules
         * @description Without `channel` against those of all. Pixels are measured exactly, in sRGB and as shown; films by what their index says.
         *
         *     Needs the role `viewer` or a higher one. An API key needs the scope `asset.check`.
         */
        get: operations["asset.check"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/assets/{id}/complete": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Have an upload looked at
         * @description Size, type by content, dimensions, duration and SHA-256 are those of what has arrived. A file that is not what was announced is deleted with its asset. One that came in several parts stays `pending` until all of it has been read, some seconds for each gigabyte.
         *
         *     Needs the role `member` or a higher one. An API key needs the scope `asset.complete`.
         */
        post: operations["asset.complete"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/assets/{id}/download": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Redirect to the file by a URL that works for 5 minutes, or a URL as JSON
         * @description With a `width`, to a copy of a picture, or of a frame of a film in H.264 of less than 40 MB where the deployment makes those, that is at most so many pixels wide: upright, in sRGB, without EXIF, made once. What is transparent or moves stays so where the `format` can. `HEAD` leads to a URL for `HEAD`. Whose `Accept` prefers `application/json` to `*\/*` gets a URL to GET, as of `POST /assets/downloads`: browsers need that on pages of another origin than the API, since they follow the redirect as nobody (`Origin: null`).
         *
         *     Needs the role `viewer` or a higher one. An API key needs the scope `asset.download`.
         */
        get: operations["asset.download"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/assets/{id}/exports": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What became of exports, newest first
         * @description Needs the role `viewer` or a higher one. An API key needs the scope `export.list`.
         */
        get: operations["export.list"];
        put?: never;
        /**
         * Have copies made that channels accept
         * @description Each becomes a new asset of source `export`, or is refused by name: `GET` of the same path tells. One that is still to be made is answered as it is. With an `Idempotency-Key` the same request of the same caller twice makes them once.
         *
         *     Needs the role `member` or a higher one. An API key needs the scope `export.create`.
         */
        post: operations["export.create"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/assets/{id}/lineage": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Where an asset came from
         * @description Needs the role `viewer` or a higher one. An API key needs the scope `asset.lineage`.
         */
        get: operations["asset.lineage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/assets/{id}/upload": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What has arrived of an upload, and where to send the rest
         * @description Needs the role `member` or a higher one. An API key needs the scope `asset.resume`.
         */
        get: operations["asset.resume"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/assets/downloads": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * URLs of many files at once
         * @description In the order of the ids, each with a URL or with what is wrong with it. Within ten minutes the URLs are the same.
         *
         *     Needs the role `viewer` or a higher one. An API key needs the scope `asset.links`.
         */
        post: operations["asset.links"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/assets/upload": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Upload a file
         * @description One `file` of up to 95 MB, or the file itself as the body: JPEG, PNG, WebP, GIF, AVIF, HEIC, MP4, WebM, PDF, DOCX, XLSX or plain text, detected by its content. Larger ones, or straight to storage: `POST /assets/uploads`.
         *
         *     Needs the role `member` or a higher one. An API key needs the scope `asset.create`.
         */
        post: operations["asset.create"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/assets/uploads": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Announce a file that is sent straight to storage
         * @description For files of up to 5 GB. Send each part to its URL, in any order, then `POST /assets/{id}/complete`. Storage is reserved from now on, until the upload is complete, deleted, or a day old. With an `Idempotency-Key` the same request of the same caller twice announces one file, with fresh URLs for what has not arrived.
         *
         *     Needs the role `member` or a higher one. An API key needs the scope `asset.begin`.
         */
        post: operations["asset.begin"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/audit-logs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What was done in the workspace, newest first
         * @description Needs the role `admin` or a higher one. An API key needs the scope `audit.list`.
         */
        get: operations["audit.list"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/audit-logs/checkpoints": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Signed checkpoints of the log, newest first
         * @description Kept elsewhere, one of them proves to /audit-logs/verify, or by its signature, what the log once was.
         *
         *     Needs the role `admin` or a higher one. An API key needs the scope `checkpoint.list`.
         */
        get: operations["checkpoint.list"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/audit-logs/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * All entries as NDJSON, newest first, streamed
         * @description Needs the role `admin` or a higher one. An API key needs the scope `audit.export`.
         */
        get: operations["audit.export"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/audit-logs/verify": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Does every entry still follow from the one before it, and agree with the checkpoints?
         * @description Looks at up to 20,000 entries. A longer log takes further requests, each from the `next` of the one before it.
         *
         *     Needs the role `admin` or a higher one. An API key needs the scope `audit.verify`.
         */
        get: operations["audit.verify"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/email/change": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Change the caller's address, once both are proved by mail
         * @description A later wish replaces an earlier one. The former address is told, and can undo the change for a day. Whether the new one belongs to somebody does not show.
         *
         *     For whoever is signed in. Needs a proof that is not older than 15 minutes (`POST /auth/step-up`). Not for API keys.
         */
        post: operations["email.change"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/email/change/undo": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Take a former address back, by the token that was mailed there
         * @description All sessions end, and a mail lets a new password be set. What the account has got or made since a day before the change goes: sign-ins by provider, second factors, API keys, webhook endpoints (disabled) and open invites; the audit logs of their workspaces say which. Who has joined by such an invite stays: look at the members, and at endpoints that were changed.
         *
         *     Needs no credentials.
         */
        post: operations["email.undo"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/email/verify": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Have a link and a code mailed to the caller's address
         * @description Nothing is sent to an address that is proved already. The answer is 404 to an account without address.
         *
         *     For whoever is signed in. Not for API keys.
         */
        post: operations["email.verify"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/email/verify/confirm": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Prove an address by the token of a mailed link, or by the code beside it
         * @description For the account that asked for the mail, whether to prove its address or to change it. A change takes effect when both addresses are proved. Opening the link proves nothing: this request does, and answers the same when it is sent again.
         *
         *     For whoever is signed in. Not for API keys.
         */
        post: operations["email.confirm"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/login": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Sign in
         * @description Sign-ins are limited per network and per address: by the minute all of them, by the hour and the day those that fail. A device that sends the `device_token` of an earlier sign-in is counted by itself, and with the other known devices of its network. A person has up to 100 open sessions: another one ends the oldest.
         *
         *     Needs no credentials.
         */
        post: operations["session.create"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/login/mfa": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Sign in: the second step
         * @description The `mfa_token` of `POST /auth/login` with a code of the app, which works once, a recovery code, or what a passkey has signed for `POST /auth/login/passkey/options`. The token is good for five minutes, for one sign-in, and until the password changes.
         *
         *     Needs no credentials.
         */
        post: operations["session.confirm"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/login/passkey": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Sign in by a passkey alone
         * @description Needs no credentials.
         */
        post: operations["session.assert"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/login/passkey/options": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * What a browser needs to have a passkey sign
         * @description For `navigator.credentials.get`, as `PublicKeyCredential.parseRequestOptionsFromJSON` takes it; good for five minutes and once, whether to sign in, as the second step, or for `POST /auth/step-up`.
         *
         *     Needs no credentials.
         */
        post: operations["session.prepare"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/logout": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Sign out; the session is revoked at once
         * @description Answers 403 to the session cookie of a front end, which ends its own sessions.
         *
         *     For whoever is signed in. Not for API keys.
         */
        post: operations["session.revoke"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/me": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The caller, and the workspaces that they belong to
         * @description For whoever is signed in. Not for API keys.
         */
        get: operations["user.get"];
        put?: never;
        post?: never;
        /**
         * Delete the account of the caller, in 7 days
         * @description All sessions end and all API keys of the caller stop at once, and their open invites are withdrawn. Signing in before the day comes undoes it, and the keys work again; a mail tells of both. With the account go its sessions, sign-ins by provider, mails and memberships, and the workspaces that nobody else belongs to. The last owner of a workspace with other members is refused: make another member an owner first, or delete the workspace.
         *
         *     For whoever is signed in. Needs a proof that is not older than 15 minutes (`POST /auth/step-up`). Not for API keys.
         */
        delete: operations["user.delete"];
        options?: never;
        head?: never;
        /**
         * Change the caller's name
         * @description For whoever is signed in. Not for API keys.
         */
        patch: operations["user.update"];
        trace?: never;
    };
    "/api/v1/auth/me/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Everything about the caller, as a file
         * @description The first request has the file made, and a mail tells when it is there: profile, sign-ins by provider, sessions, mails, memberships, keys and invites that the caller made, and what the audit log has of them outside workspaces; of each the newest 5,000, and at most 1.5 MB. What is in workspaces is those workspaces' and not in it. It is kept for a day, and is the same until then.
         *
         *     For whoever is signed in. Needs a proof that is not older than 15 minutes (`POST /auth/step-up`). Not for API keys.
         */
        get: operations["user.export"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/mfa": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The caller's second factors
         * @description For whoever is signed in. Not for API keys.
         */
        get: operations["factor.get"];
        put?: never;
        post?: never;
        /**
         * Ask for codes of the app no more
         * @description Recovery codes go with the last factor. Without one, workspaces that demand it (`secondFactorRequired`), also those that the caller owns, answer 403 `second_factor_required` until another is set up, which needs no more than for the first one.
         *
         *     For whoever is signed in. Needs a proof that is not older than 15 minutes (`POST /auth/step-up`). Not for API keys.
         */
        delete: operations["totp.delete"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/mfa/recovery-codes": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * New recovery codes
         * @description Those from before work no more, and a mail says so.
         *
         *     For whoever is signed in. Needs a proof that is not older than 15 minutes (`POST /auth/step-up`). Not for API keys.
         */
        post: operations["recovery_code.create"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/mfa/totp": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * A secret for an authenticator app (RFC 6238)
         * @description It counts once `POST /auth/mfa/totp/confirm` has had a code of it; until then another call replaces it.
         *
         *     For whoever is signed in. Needs a proof that is not older than 15 minutes (`POST /auth/step-up`). Not for API keys.
         */
        post: operations["totp.create"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/mfa/totp/confirm": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Turn the second factor on, by a code of the app
         * @description From then on signing in by password asks for a code as well. Recovery codes from before work no more, and with the first factor your other sessions end. Confirmed again, it is refused with 409; if the answer was lost, `POST /auth/mfa/recovery-codes` makes new codes.
         *
         *     For whoever is signed in. Not for API keys.
         */
        post: operations["totp.confirm"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/passkeys": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The caller's passkeys, newest first
         * @description For whoever is signed in. Not for API keys.
         */
        get: operations["passkey.list"];
        put?: never;
        /**
         * Keep a passkey that a browser has made
         * @description From then on it signs in alone, and signing in by password asks for a second factor as well. `passkey` is the credential as its `toJSON()` gives it. With the first factor come recovery codes, and your other sessions end.
         *
         *     For whoever is signed in. Needs a proof that is not older than 15 minutes (`POST /auth/step-up`). Not for API keys.
         */
        post: operations["passkey.create"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/passkeys/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Accept a passkey no more
         * @description Recovery codes go with the last factor. Without one, workspaces that demand it (`secondFactorRequired`), also those that the caller owns, answer 403 `second_factor_required` until another is set up, which needs no more than for the first one.
         *
         *     For whoever is signed in. Needs a proof that is not older than 15 minutes (`POST /auth/step-up`). Not for API keys.
         */
        delete: operations["passkey.delete"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/passkeys/options": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * What a browser needs to make a passkey
         * @description For `navigator.credentials.create`, as `PublicKeyCredential.parseCreationOptionsFromJSON` takes it; good for five minutes.
         *
         *     For whoever is signed in. Needs a proof that is not older than 15 minutes (`POST /auth/step-up`). Not for API keys.
         */
        post: operations["passkey.prepare"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/password": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Change the caller's password to another; other sessions are revoked
         * @description For whoever is signed in. Needs a proof that is not older than 15 minutes (`POST /auth/step-up`). Not for API keys.
         */
        post: operations["password.update"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/password/reset": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Have a link mailed by which a password can be set
         * @description Answers the same, in the same time, whether there is an account. Where strangers have asked so often that none is mailed any more, the last link is good for a quarter of an hour at least. A device that sends its `device_token` is counted by itself, whatever others of its network ask for.
         *
         *     Needs no credentials.
         */
        post: operations["password.reset"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/password/reset/confirm": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Set a password by the token of a mailed link; all sessions end
         * @description Second factors that are younger than a day go, and the recovery codes with them; older ones stay. API keys stay, too. An account that is to be deleted still is, unless its person signs in. Of an address that nobody has proved, the password is that of the account that claims it and that this device has signed up or in to, as its `device_token` says; without one, of a new account.
         *
         *     Needs no credentials.
         */
        post: operations["password.confirm"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/refresh": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * New tokens for a refresh token
         * @description Each refresh token is good for one rotation. Sent again within 60 seconds it gives the same new one; sent again later it revokes the session.
         *
         *     Needs no credentials.
         */
        post: operations["session.refresh"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/register": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Sign up; a mail with a link and a code proves the address
         * @description An address that nobody has proved belongs to nobody yet: whoever proves it first has it, and other accounts that claimed it lose it. Sent again within a quarter of an hour, with the same password, it signs in to the account that it made, unless somebody else has claimed the address in between.
         *
         *     Needs no credentials.
         */
        post: operations["user.create"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/sessions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The caller's sessions in force, newest first
         * @description For whoever is signed in. Not for API keys.
         */
        get: operations["session.list"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/sessions/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Revoke one of the caller's sessions at once
         * @description For whoever is signed in. Not for API keys.
         */
        delete: operations["session.delete"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/auth/step-up": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Prove oneself once more, before what is dangerous
         * @description By a code of the app, a recovery code, or what a passkey has signed for `POST /auth/login/passkey/options`; without a second factor by the password. Signing in counts as well. A session stays proved for 15 minutes, and by a second factor for workspaces that demand one for as long as it lasts. A front end's session gets a cookie for that, which holds 12 hours, until the password is changed or the oldest factor goes; it is asked for a second factor only, and to set up the first one for a sign-in at the front end in the last 15 minutes.
         *
         *     For whoever is signed in. Not for API keys.
         */
        post: operations["session.prove"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/credits/ledger": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Reservations, charges and refunds, newest first
         * @description Needs the role `viewer` or a higher one. An API key needs the scope `credit.list`.
         */
        get: operations["credit.list"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Progress of all generations of the workspace, live
         * @description Needs the role `viewer` or a higher one. An API key needs the scope `event.list`.
         */
        get: operations["event.list"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/generations": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Generations, newest first
         * @description Needs the role `viewer` or a higher one. An API key needs the scope `generation.list`.
         */
        get: operations["generation.list"];
        put?: never;
        /**
         * Have images or a video generated
         * @description Accepted as a job. With an `Idempotency-Key` the same request of the same caller twice is one job, answered as at first.
         *
         *     Needs the role `member` or a higher one. An API key needs the scope `generation.create`.
         */
        post: operations["generation.create"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/generations/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * One generation, with its outputs
         * @description Needs the role `viewer` or a higher one. An API key needs the scope `generation.get`.
         */
        get: operations["generation.get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/generations/{id}/cancel": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Stop a job and get its credits back
         * @description Needs the role `member` or a higher one. An API key needs the scope `generation.cancel`.
         */
        post: operations["generation.cancel"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/generations/{id}/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Progress of one generation, live, until its last event
         * @description Needs the role `viewer` or a higher one. An API key needs the scope `generation.events`.
         */
        get: operations["generation.events"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/generations/{id}/retry": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * The same again, of what failed or was canceled
         * @description Needs the role `member` or a higher one. An API key needs the scope `generation.retry`.
         */
        post: operations["generation.retry"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/generations/quote": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * What a request would cost, and when it would be done; nothing happens
         * @description Needs the role `member` or a higher one. An API key needs the scope `generation.quote`.
         */
        post: operations["generation.quote"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/models": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The models that can be asked now, the default of each task first
         * @description For whoever is signed in. An API key needs the scope `model.list`.
         */
        get: operations["model.list"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/usage": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Plan, credits of this month and storage
         * @description Needs the role `viewer` or a higher one. An API key needs the scope `usage.get`.
         */
        get: operations["usage.get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/webhooks": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Endpoints, newest first
         * @description Needs the role `admin` or a higher one. Not for API keys.
         */
        get: operations["webhook.list"];
        put?: never;
        /**
         * Register a URL for events of generations; the secret is shown once
         * @description Needs the role `admin` or a higher one. Not for API keys.
         */
        post: operations["webhook.create"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/webhooks/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Delete an endpoint and its deliveries
         * @description Needs the role `admin` or a higher one. Not for API keys.
         */
        delete: operations["webhook.delete"];
        options?: never;
        head?: never;
        /**
         * Change, disable or enable an endpoint
         * @description Needs the role `admin` or a higher one. Not for API keys.
         */
        patch: operations["webhook.update"];
        trace?: never;
    };
    "/api/v1/webhooks/deliveries": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Deliveries, newest first
         * @description Needs the role `admin` or a higher one. Not for API keys.
         */
        get: operations["delivery.list"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/webhooks/deliveries/{id}/resend": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Send a delivery again
         * @description Needs the role `admin` or a higher one. Not for API keys.
         */
        post: operations["delivery.resend"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/webhooks/signing-secret": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The secret that signs what goes to a generation's own `webhookUrl`
         * @description Needs the role `admin` or a higher one. Not for API keys.
         */
        get: operations["webhook.secret"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/workspaces": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The caller's workspaces, newest first
         * @description For whoever is signed in. Not for API keys.
         */
        get: operations["workspace.list"];
        put?: never;
        /**
         * Create a workspace as its owner
         * @description For whoever is signed in. Not for API keys.
         */
        post: operations["workspace.create"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/workspaces/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * One workspace
         * @description Needs the role `viewer` or a higher one. Not for API keys.
         */
        get: operations["workspace.get"];
        put?: never;
        post?: never;
        /**
         * Delete a workspace and everything in it, in 30 days
         * @description Nobody is let in from now on, keys stop, and jobs are canceled and refunded. For 30 days an owner finds it by `GET /workspaces?deleted=true` and can restore it; then files, rows and audit log are removed for good.
         *
         *     Needs the role `owner` or a higher one. Needs a proof that is not older than 15 minutes (`POST /auth/step-up`). Not for API keys.
         */
        delete: operations["workspace.delete"];
        options?: never;
        head?: never;
        /**
         * Change name or slug, or whether members need a second factor
         * @description With `secondFactorRequired` sessions that were not proved by a second factor are answered with 403 `second_factor_required`; API keys stay. Only an owner whose own session was may change that.
         *
         *     Needs the role `admin` or a higher one. Not for API keys.
         */
        patch: operations["workspace.update"];
        trace?: never;
    };
    "/api/v1/workspaces/{id}/invites": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Open invites, newest first
         * @description Needs the role `admin` or a higher one. Not for API keys.
         */
        get: operations["invite.list"];
        put?: never;
        /**
         * Invite somebody by e-mail address, by mail; the token is shown once
         * @description The mail's link also proves the address of the invited; the token answered here is good for who has proved it. An invite that is made again replaces the earlier one with its token; links that were mailed stay good, for the newest role. To give or take the role `owner` needs a proof that is not older than 15 minutes (`POST /auth/step-up`).
         *
         *     Needs the role `admin` or a higher one. Not for API keys.
         */
        post: operations["invite.create"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/workspaces/{id}/invites/{inviteId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Withdraw an invite
         * @description Needs the role `admin` or a higher one. Not for API keys.
         */
        delete: operations["invite.delete"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/workspaces/{id}/members": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The members of a workspace, newest first
         * @description Needs the role `viewer` or a higher one. Not for API keys.
         */
        get: operations["member.list"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/workspaces/{id}/members/{userId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Leave a workspace, or remove a member (admin)
         * @description To give or take the role `owner` needs a proof that is not older than 15 minutes (`POST /auth/step-up`). Whoever has no second factor may leave a workspace that demands one.
         *
         *     Needs the role `viewer` or a higher one. Not for API keys.
         */
        delete: operations["member.remove"];
        options?: never;
        head?: never;
        /**
         * Change a member's role, at most to one's own
         * @description To give or take the role `owner` needs a proof that is not older than 15 minutes (`POST /auth/step-up`).
         *
         *     Needs the role `admin` or a higher one. Not for API keys.
         */
        patch: operations["member.update"];
        trace?: never;
    };
    "/api/v1/workspaces/{id}/restore": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Restore a workspace that was deleted less than 30 days ago
         * @description Needs the role `owner` in it. Members, files, keys and webhooks are there again; jobs that were canceled stay so, and free credits that went on to another workspace stay there if they were used there. One that is not deleted is answered as it is.
         *
         *     For whoever is signed in. Not for API keys.
         */
        post: operations["workspace.restore"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/workspaces/{id}/transfer": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Make another member the owner and become an admin
         * @description The new owner is not asked: they can hand it back, or delete it. Free credits are of a person and do not come along; a new owner who never had any has theirs there with the first job that they ask for, or in a workspace that they make before.
         *
         *     Needs the role `owner` or a higher one. Needs a proof that is not older than 15 minutes (`POST /auth/step-up`). Not for API keys.
         */
        post: operations["workspace.transfer"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/workspaces/invites/accept": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Accept an invite and join its workspace
         * @description For whoever is signed in. Not for API keys.
         */
        post: operations["invite.accept"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/health": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Is the process up?
         * @description Touches nothing else.
         */
        get: operations["health.get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/health/ready": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Do the database and the storage answer?
         * @description The answer is a few seconds old at most; that of a database which nobody has used for some minutes stands for as long as nobody does, so that it can sleep. `degraded`: a database login could bypass row-level security, an offer of the catalogue needs its operator, storage and database differ too much to be mended, or the second storage does not answer.
         */
        get: operations["health.ready"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export interface webhooks {
    generation: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * What endpoints, and the `webhookUrl` of a generation, are sent
         * @description Signed by Standard Webhooks: verify the body as it came, before it is parsed. Answer 2xx within 10 seconds; it may come twice.
         */
        post: operations["webhook.message"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export interface components {
    schemas: {
        ApiKey: {
            /**
             * Format: date-time
             * @description In UTC, ending in `Z`
             */
            createdAt: string;
            /** Format: uuid */
            createdBy: string | null;
            /**
             * Format: date-time
             * @description In UTC, ending in `Z`
             */
            expiresAt: string | null;
            /** Format: uuid */
            id: string;
            /**
             * Format: date-time
             * @description To the minute
             */
            lastUsedAt: string | null;
            name: string;
            scopes: ("asset.begin" | "asset.check" | "asset.complete" | "asset.create" | "asset.delete" | "asset.download" | "asset.get" | "asset.lineage" | "asset.links" | "asset.list" | "asset.resume" | "asset.update" | "audit.export" | "audit.list" | "audit.verify" | "checkpoint.list" | "credit.list" | "event.list" | "export.create" | "export.list" | "generation.cancel" | "generation.create" | "generation.events" | "generation.get" | "generation.list" | "generation.quote" | "generation.retry" | "model.list" | "usage.get")[];
            /** @description The key's first characters */
            start: string;
        };
        /**
         * @example {
         *       "id": "0198c1de-6e1f-7c5a-9d35-0a4b6f2f7a11",
         *       "workspaceId": "0198c1dd-2b84-7d10-8f6e-5c1d3e9a4b02",
         *       "name": "mug.jpg",
         *       "kind": "image",
         *       "mimeType": "image/jpeg",
         *       "size": 48213,
         *       "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
         *       "width": 1200,
         *       "height": 900,
         *       "source": "upload",
         *       "status": "ready",
         *       "tags": [
         *         "spring"
         *       ],
         *       "createdBy": "0198c1dc-91f3-7a6e-b0c4-2d7f8e1a5c33",
         *       "createdAt": "2026-01-31T12:00:00.000Z"
         *     }
         */
        Asset: {
            /**
             * Format: date-time
             * @description In UTC, ending in `Z`
             */
            createdAt: string;
            /** Format: uuid */
            createdBy: string | null;
            /** @description Of films that say */
            durationSeconds?: number;
            /** @description Pixels; images only */
            height?: number;
            /** Format: uuid */
            id: string;
            /** @enum {string} */
            kind: "image" | "video" | "document";
            mimeType: string;
            name: string;
            /** @description Of PDFs that say */
            pages?: number;
            /** @description Hex; once the file is ready */
            sha256?: string;
            /** @description Bytes */
            size: number;
            /** @enum {string} */
            source: "upload" | "generation" | "export";
            /**
             * @description `pending`: announced, and not all there, or not yet read
             * @enum {string}
             */
            status: "pending" | "ready";
            tags: string[];
            /** @description Pixels; images only */
            width?: number;
            /** Format: uuid */
            workspaceId: string;
        };
        AuditCheckpoint: {
            /**
             * Format: date-time
             * @description In UTC, ending in `Z`
             */
            createdAt: string;
            /** @description Of the last one, which follows from all before it */
            hash: string;
            /** Format: uuid */
            id: string;
            kid: string;
            /** @description Entries that it covers */
            sequence: number;
            /** @description Compact JWS (EdDSA) over `{workspaceId, sequence, hash, at}`, by the key `kid` of /.well-known/jwks.json */
            signature: string;
        };
        AuditEntry: {
            /** @enum {string} */
            action: "access.refuse" | "api_key.create" | "api_key.list" | "api_key.revoke" | "asset.begin" | "asset.check" | "asset.complete" | "asset.create" | "asset.delete" | "asset.download" | "asset.expire" | "asset.get" | "asset.lineage" | "asset.links" | "asset.list" | "asset.lose" | "asset.resume" | "asset.update" | "audit.export" | "audit.list" | "audit.verify" | "budget.update" | "checkpoint.list" | "credit.hold" | "credit.list" | "credit.release" | "email.change" | "email.confirm" | "email.lose" | "email.undo" | "email.verify" | "event.list" | "export.create" | "export.finish" | "export.list" | "factor.get" | "generation.cancel" | "generation.create" | "generation.events" | "generation.fail" | "generation.get" | "generation.list" | "generation.quote" | "generation.retry" | "generation.succeed" | "invite.accept" | "invite.create" | "invite.delete" | "invite.list" | "member.list" | "member.remove" | "member.update" | "model.list" | "passkey.create" | "passkey.delete" | "passkey.list" | "passkey.prepare" | "password.confirm" | "password.reset" | "password.update" | "recovery_code.create" | "session.assert" | "session.confirm" | "session.create" | "session.delete" | "session.list" | "session.prepare" | "session.prove" | "session.refresh" | "session.refuse" | "session.revoke" | "totp.confirm" | "totp.create" | "totp.delete" | "usage.get" | "user.create" | "user.delete" | "user.erase" | "user.export" | "user.get" | "user.link" | "user.restore" | "user.update" | "workspace.create" | "workspace.delete" | "workspace.get" | "workspace.list" | "workspace.purge" | "workspace.restore" | "workspace.transfer" | "workspace.update" | "delivery.list" | "delivery.resend" | "webhook.create" | "webhook.delete" | "webhook.list" | "webhook.secret" | "webhook.update";
            actor: {
                /** Format: uuid */
                id: string | null;
                /** @enum {string} */
                type: "user" | "api_key" | "system";
            };
            /** @description Changed fields as they are; left out for what was deleted */
            after?: {
                [key: string]: unknown;
            };
            /** @description Changed fields as they were; left out for what was created */
            before?: {
                [key: string]: unknown;
            };
            /**
             * Format: date-time
             * @description In UTC, ending in `Z`
             */
            createdAt: string;
            /** Format: uuid */
            id: string;
            ip: string | null;
            requestId: string | null;
            /** Format: uuid */
            resourceId: string | null;
            resourceType: string;
            userAgent: string | null;
        };
        AuthenticationResponseJSON: {
            id: string;
            response: {
                authenticatorData: string;
                clientDataJSON: string;
                signature: string;
                userHandle?: string | null;
            };
            /** @enum {string} */
            type: "public-key";
        };
        ChannelChecks: {
            /** Format: uuid */
            assetId: string;
            data: {
                /** @enum {string} */
                channel: "amazon-main" | "google-merchant" | "shopify" | "instagram-feed" | "instagram-reel" | "tiktok" | "web";
                checks: {
                    /** @description The month in which that was read */
                    asOf: string | null;
                    found: string | null;
                    /**
                     * @description What may help where it does not pass: an export, or a task for a model
                     * @enum {string|null}
                     */
                    helps: "export" | "scene" | "cutout" | "packshot" | "upscale" | "expand" | "animate" | null;
                    /** @enum {string} */
                    level: "required" | "recommended";
                    /** @description Null where it cannot be told */
                    passes: boolean | null;
                    rule: string;
                    /** @description Where the rule is written */
                    source: string | null;
                    wanted: string;
                }[];
                /** @description Whether nothing that is required is missed */
                passes: boolean;
            }[];
        };
        CreditEntry: {
            /**
             * Format: date-time
             * @description In UTC, ending in `Z`
             */
            createdAt: string;
            credits: number;
            /** Format: uuid */
            generationId: string;
            /** Format: uuid */
            id: string;
            /** @enum {string} */
            kind: "reserve" | "charge" | "refund";
            /**
             * Format: date
             * @description The month that pays, by its first day
             */
            period: string;
        };
        /** @enum {string} */
        ErrorCode: "malformed_json" | "malformed_multipart" | "workspace_required" | "unauthorized" | "refresh_token_reused" | "invalid_credentials" | "invalid_code" | "invalid_passkey" | "token_used" | "insufficient_credits" | "storage_quota_exceeded" | "free_credits_paused" | "plan_limit_reached" | "forbidden" | "email_not_verified" | "step_up_required" | "second_factor_required" | "origin_not_allowed" | "not_found" | "method_not_allowed" | "email_taken" | "invalid_token" | "already_enrolled" | "passkey_limit_reached" | "slug_taken" | "already_finished" | "endpoint_disabled" | "last_owner" | "already_member" | "invite_used" | "invite_expired" | "not_retryable" | "upload_incomplete" | "upload_expired" | "payload_too_large" | "unsupported_media_type" | "upload_mismatch" | "validation_failed" | "not_convertible" | "idempotency_key_reused" | "rate_limited" | "internal_error" | "misconfigured" | "unavailable";
        Export: {
            /** Format: uuid */
            assetId: string;
            /** @enum {string} */
            channel: "amazon-main" | "google-merchant" | "shopify" | "instagram-feed" | "instagram-reel" | "tiktok" | "web";
            /**
             * Format: date-time
             * @description In UTC, ending in `Z`
             */
            createdAt: string;
            /** Format: uuid */
            createdBy: string | null;
            /**
             * Format: date-time
             * @description In UTC, ending in `Z`
             */
            endedAt: string | null;
            /** Format: uuid */
            id: string;
            /**
             * Format: uuid
             * @description The new asset, once there is one
             */
            outputId: string | null;
            refusal: {
                /** @enum {string} */
                code: "wrong_kind" | "unreadable" | "no_cutout" | "too_small" | "not_met" | "storage_quota_exceeded" | "service_unavailable";
                detail: string;
                /**
                 * @description The task whose result could be exported
                 * @enum {string|null}
                 */
                helps: "scene" | "cutout" | "packshot" | "upscale" | "expand" | "animate" | null;
            } | null;
            /** @enum {string} */
            status: "queued" | "succeeded" | "refused";
        };
        Factors: {
            methods: ("totp" | "recovery_code" | "passkey")[];
            recoveryCodesLeft: number;
        };
        Generation: {
            /** @enum {string|null} */
            aspectRatio: "1:1" | "4:3" | "3:4" | "16:9" | "9:16" | null;
            /** @description Submissions to providers */
            attempts: number;
            /**
             * Format: date-time
             * @description In UTC, ending in `Z`
             */
            completedAt: string | null;
            count: number;
            /**
             * Format: date-time
             * @description In UTC, ending in `Z`
             */
            createdAt: string;
            /** Format: uuid */
            createdBy: string | null;
            creditsCharged: number;
            creditsReserved: number;
            durationSeconds: number | null;
            error?: {
                code: string;
                message: string;
                retryable: boolean;
                /** @enum {string} */
                whoFixes: "caller" | "operator" | "provider";
            };
            /** @description When an open job will have ended in one case of two, and in nine of ten, if enough others have been measured */
            eta?: {
                /**
                 * Format: date-time
                 * @description In UTC, ending in `Z`
                 */
                p50: string;
                /**
                 * Format: date-time
                 * @description In UTC, ending in `Z`
                 */
                p90: string;
            };
            /** Format: uuid */
            id: string;
            inputAssetIds: string[];
            /** @enum {string} */
            kind: "image" | "video";
            model: string;
            outputs: (components["schemas"]["Asset"] & {
                /**
                 * Format: uri
                 * @description For ten minutes at a time the same, so that it can be cached
                 */
                url: string;
                /**
                 * Format: date-time
                 * @description At least five minutes from now
                 */
                urlExpiresAt: string;
            })[];
            /**
             * @description Of an open job: in the workspace's line, in the provider's, waiting for the model to start, being made, or with results on their way to storage
             * @enum {string}
             */
            phase?: "plan_line" | "provider_line" | "booting" | "running" | "storing";
            /** @description Percent; by the time that others took, where the model says nothing */
            progress: number;
            prompt: string | null;
            /** @description Jobs of the workspace before this one, counted to 1000; null once it runs */
            queuePosition: number | null;
            /** Format: uuid */
            retryOf: string | null;
            seed: number | null;
            /**
             * Format: date-time
             * @description In UTC, ending in `Z`
             */
            startedAt: string | null;
            /** @enum {string} */
            status: "queued" | "running" | "succeeded" | "failed" | "canceled";
            /** @enum {string|null} */
            style: "modern" | "luxury" | "fresh" | "tech" | "warm" | "business" | null;
            /** @enum {string} */
            task: "scene" | "cutout" | "packshot" | "upscale" | "expand" | "animate";
            text: string | null;
            /** Format: uuid */
            workspaceId: string;
        };
        /**
         * @example {
         *       "generationId": "0198c1de-6e1f-7c5a-9d35-0a4b6f2f7a11",
         *       "status": "running",
         *       "phase": "running",
         *       "progress": 40,
         *       "at": "2026-01-31T12:00:03.000Z"
         *     }
         */
        GenerationEvent: {
            /**
             * Format: date-time
             * @description In UTC, ending in `Z`
             */
            at: string;
            /** @description When it will have ended in one case of two, and in nine of ten */
            eta?: {
                /**
                 * Format: date-time
                 * @description In UTC, ending in `Z`
                 */
                p50: string;
                /**
                 * Format: date-time
                 * @description In UTC, ending in `Z`
                 */
                p90: string;
            };
            /** Format: uuid */
            generationId: string;
            /**
             * @description Of an open job
             * @enum {string}
             */
            phase?: "plan_line" | "provider_line" | "booting" | "running" | "storing";
            /** @description Percent */
            progress: number;
            /** @enum {string} */
            status: "queued" | "running" | "succeeded" | "failed" | "canceled";
        };
        GenerationInput: {
            /**
             * @description Default: square, or as the photo is
             * @enum {string}
             */
            aspectRatio?: "1:1" | "4:3" | "3:4" | "16:9" | "9:16";
            /** @description Default `1` */
            count?: number;
            /** @description Of films */
            durationSeconds?: number;
            /** @description Default none. As many as the model takes: `GET /models` */
            inputAssetIds?: string[];
            /** @description Refused if it costs more */
            maxCredits?: number;
            /** @description From the catalogue; default the task's first */
            model?: string;
            /** @description An instruction */
            prompt?: string;
            seed?: number;
            /** @enum {string} */
            style?: "modern" | "luxury" | "fresh" | "tech" | "warm" | "business";
            /** @enum {string} */
            task: "scene" | "cutout" | "packshot" | "upscale" | "expand" | "animate";
            /** @description Lettering for the picture, where the model can */
            text?: string;
            /** @description Told of the end; https, a public host */
            webhookUrl?: string;
        };
        Invite: {
            /**
             * Format: date-time
             * @description In UTC, ending in `Z`
             */
            createdAt: string;
            /** Format: email */
            email: string;
            /**
             * Format: date-time
             * @description In UTC, ending in `Z`
             */
            expiresAt: string;
            /** Format: uuid */
            id: string;
            /** @enum {string} */
            role: "viewer" | "member" | "admin" | "owner";
        };
        Lineage: {
            /** Format: uuid */
            assetId: string;
            /**
             * Format: date-time
             * @description In UTC, ending in `Z`
             */
            createdAt: string;
            /** Format: uuid */
            createdBy: string | null;
            /** @description Of which asset it is a copy, for which channel; null for others, and once that asset is deleted */
            export: {
                /** Format: uuid */
                assetId: string;
                /** @enum {string} */
                channel: "amazon-main" | "google-merchant" | "shopify" | "instagram-feed" | "instagram-reel" | "tiktok" | "web";
            } | null;
            /** @description What made it; null for an upload and for an export */
            generation: {
                /** @description Charged for this one of its outputs */
                credits: number;
                /** Format: uuid */
                id: string;
                /** @description Photos as they were then; they may be deleted by now */
                inputs: {
                    /** Format: uuid */
                    assetId: string;
                    sha256: string;
                }[];
                model: string;
                prompt: string | null;
                /** @description All the words that the model was sent */
                promptSent: string | null;
                /** @enum {string|null} */
                provider: "replicate" | "fal" | "openai" | "gemini" | "workers-ai" | null;
                /** @description As the provider calls it */
                providerModel: string | null;
                /**
                 * Format: date-time
                 * @description In UTC, ending in `Z`
                 */
                requestedAt: string;
                /** Format: uuid */
                requestedBy: string | null;
                seed: number | null;
                /** @enum {string|null} */
                style: "modern" | "luxury" | "fresh" | "tech" | "warm" | "business" | null;
                /** @enum {string} */
                task: "scene" | "cutout" | "packshot" | "upscale" | "expand" | "animate";
                text: string | null;
            } | null;
            /** @description Hex; null of what is not ready */
            sha256: string | null;
            /** @enum {string} */
            source: "upload" | "generation" | "export";
        };
        Member: {
            /**
             * Format: date-time
             * @description In UTC, ending in `Z`
             */
            createdAt: string;
            /** Format: email */
            email: string | null;
            /** @description Whether they have proved that the address is theirs */
            emailVerified: boolean;
            /**
             * Format: date-time
             * @description When they go, if they have deleted their account: they are no owner to rely on, unless they sign in before
             */
            leavesAt: string | null;
            name: string | null;
            /** @enum {string} */
            role: "viewer" | "member" | "admin" | "owner";
            /** Format: uuid */
            userId: string;
        };
        Model: {
            id: string;
            /** @description What the model can be asked for, each by itself. Several may make it who can do different things, so that not every combination is taken: `POST /generations/quote` says whether one is, and else what could be. */
            inputs: {
                /** @description None: the photo's. Not each goes with all else */
                aspectRatios: ("1:1" | "4:3" | "3:4" | "16:9" | "9:16")[];
                /** @description Seconds; null for pictures. Not each goes with all else, such as no photo */
                durations: number[] | null;
                maxCount: number;
                /** @description Images of whichever type: they are prepared for the model */
                maxInputAssets: number;
                /** @description The least, whatever else is asked for: some of it may take more */
                minInputAssets: number;
                /** @description Takes an instruction, and a style */
                prompt: boolean;
                seed: boolean;
                styles: ("modern" | "luxury" | "fresh" | "tech" | "warm" | "business")[];
                /** @description Takes lettering */
                text: boolean;
            };
            /** @enum {string} */
            kind: "image" | "video";
            name: string;
            /** @description Of one: a request costs as many times this as it has pictures, or seconds of film, rounded up to whole credits, and at least 1. Who makes it is the first who can do all of it, so that what else is asked for, such as an `aspectRatio`, may have another price: `POST /generations/quote` says what a request costs. */
            price: {
                credits: number;
                /** @enum {string} */
                per: "image" | "second" | "megapixel" | "run";
                /** @description With a `prompt` or a `style`; null: takes neither */
                withPrompt: {
                    credits: number;
                    /** @enum {string} */
                    per: "image" | "second" | "megapixel" | "run";
                } | null;
                /** @description With lettering (`text`); null: takes none */
                withText: {
                    credits: number;
                    /** @enum {string} */
                    per: "image" | "second" | "megapixel" | "run";
                } | null;
            };
            /** @enum {string} */
            task: "scene" | "cutout" | "packshot" | "upscale" | "expand" | "animate";
        };
        Passkey: {
            /** @description Kept beyond its device, such as in a password manager */
            backedUp: boolean;
            /**
             * Format: date-time
             * @description In UTC, ending in `Z`
             */
            createdAt: string;
            /** Format: uuid */
            id: string;
            /**
             * Format: date-time
             * @description In UTC, ending in `Z`
             */
            lastUsedAt: string | null;
            name: string;
        };
        /**
         * @example {
         *       "type": "about:blank",
         *       "title": "Unprocessable Content",
         *       "status": 422,
         *       "detail": "The request does not match the contract.",
         *       "code": "validation_failed",
         *       "requestId": "0198c1de-6e1f-7c5a-9d35-0a4b6f2f7a11",
         *       "errors": [
         *         {
         *           "pointer": "/task",
         *           "message": "is required"
         *         }
         *       ]
         *     }
         */
        Problem: {
            code: components["schemas"]["ErrorCode"];
            detail: string;
            errors?: {
                message: string;
                /** @description JSON pointer into the body, or below `/query`, `/path` or `/header` */
                pointer: string;
            }[];
            requestId: string;
            status: number;
            title: string;
            /** @enum {string} */
            type: "about:blank";
        };
        PublicKeyCredentialCreationOptionsJSON: {
            /** @enum {string} */
            attestation: "none";
            authenticatorSelection: {
                /** @enum {boolean} */
                requireResidentKey: true;
                /** @enum {string} */
                residentKey: "required";
                /** @enum {string} */
                userVerification: "required";
            };
            challenge: string;
            excludeCredentials: {
                id: string;
                transports?: string[];
                /** @enum {string} */
                type: "public-key";
            }[];
            pubKeyCredParams: {
                alg: number;
                /** @enum {string} */
                type: "public-key";
            }[];
            rp: {
                id: string;
                name: string;
            };
            timeout: number;
            user: {
                displayName: string;
                id: string;
                name: string;
            };
        };
        PublicKeyCredentialRequestOptionsJSON: {
            allowCredentials: {
                id: string;
                transports?: string[];
                /** @enum {string} */
                type: "public-key";
            }[];
            challenge: string;
            rpId: string;
            timeout: number;
            /** @enum {string} */
            userVerification: "required";
        };
        Quote: {
            /** @description Whether it would be now */
            accepted: boolean;
            credits: number;
            /** @description Seconds, not exceeded in 50 and in 95 % of cases; absent while too few have been measured */
            finishesIn?: {
                p50: number;
                p95: number;
            };
            model: string;
            /** @description Why it would not */
            problem?: {
                code: components["schemas"]["ErrorCode"];
                detail: string;
                errors?: {
                    message: string;
                    pointer: string;
                }[];
            };
            /** @description Credits of this month; negative: so many are missing; null: unlimited */
            remainingAfter: number | null;
            /** @description Seconds, not exceeded in 50 and in 95 % of cases; absent while too few have been measured */
            startsIn?: {
                p50: number;
                p95: number;
            };
        };
        Readiness: {
            checks: {
                /** @enum {string} */
                database: "ok" | "degraded" | "down";
                /** @enum {string} */
                models: "ok" | "degraded" | "down";
                /** @enum {string} */
                storage: "ok" | "degraded" | "down";
            };
            /**
             * Format: date-time
             * @description Earlier than now while nobody uses the database
             */
            databaseAskedAt: string;
            /** @description What the last comparison of storage with the database found, each counted to 101; null before the first */
            files: {
                assetsWithoutObject: number;
                /** Format: date-time */
                comparedAt: string;
                /** @description False: so much is amiss that its operator has to look first */
                mends: boolean;
                objectsWithoutAsset: number;
            } | null;
            /** @description Those that only the operator can mend */
            offers: {
                model: string;
                provider: string;
                reason: string;
            }[];
            /** @enum {string} */
            status: "ok" | "degraded" | "down";
        };
        RegistrationResponseJSON: {
            id: string;
            response: {
                attestationObject: string;
                clientDataJSON: string;
                transports?: string[];
            };
            /** @enum {string} */
            type: "public-key";
        };
        SecondStep: {
            /** @description Seconds */
            expires_in: number;
            /** @description What the person has */
            methods: ("totp" | "recovery_code" | "passkey")[];
            mfa_token: string;
        };
        Session: {
            /** @description ISO 3166 */
            country: string | null;
            /**
             * Format: date-time
             * @description In UTC, ending in `Z`
             */
            createdAt: string;
            current: boolean;
            /** @description Such as `Firefox on Windows` */
            device: string | null;
            /**
             * Format: date-time
             * @description In UTC, ending in `Z`
             */
            expiresAt: string;
            /** Format: uuid */
            id: string;
            /** @description Of the last refresh, as is the country */
            ip: string | null;
            /**
             * Format: date-time
             * @description To a quarter of an hour
             */
            lastUsedAt: string;
            userAgent: string | null;
        };
        SignedIn: {
            access_token: string;
            /** @description To be kept by the device, in the place of an earlier one, and sent along when it signs in again: strangers who try passwords then do not slow it down */
            device_token: string;
            /** @description Seconds */
            expires_in: number;
            refresh_token: string;
            /** @enum {string} */
            token_type: "Bearer";
        };
        Tokens: {
            access_token: string;
            /** @description Seconds */
            expires_in: number;
            refresh_token: string;
            /** @enum {string} */
            token_type: "Bearer";
        };
        Upload: {
            asset: components["schemas"]["Asset"];
            upload: {
                /**
                 * Format: date-time
                 * @description What is not complete by then is given up
                 */
                endsAt: string;
                /** @description From the first byte on: one below 100 MB, else several of 32 MiB and a rest */
                parts: {
                    arrived: boolean;
                    number: number;
                    /** @description Bytes */
                    size: number;
                    /** @description Where to send the part by PUT; none for what has arrived */
                    target?: {
                        /**
                         * Format: date-time
                         * @description In UTC, ending in `Z`
                         */
                        expiresAt: string;
                        /** @description To be sent exactly so; browsers add `content-length` themselves */
                        headers: {
                            [key: string]: string;
                        };
                        /** Format: uri */
                        url: string;
                    };
                }[];
            };
        };
        Usage: {
            credits: {
                charged: number;
                /** @description Of a free workspace, whether it has the free credits, which a person gets once: `granted`; `held`: they looked farmed, ask us; `waiting`: they come with the first job that its owner asks for, signed in; `elsewhere`: its owners have them in another workspace; `unverified`: no owner has proved an e-mail address */
                free: {
                    /** @enum {string} */
                    state: "granted" | "held" | "waiting" | "elsewhere" | "unverified";
                } | null;
                /** @description Per calendar month; null is unlimited. Free ones without what was used of them in another workspace */
                granted: number | null;
                remaining: number | null;
                /**
                 * Format: date-time
                 * @description In UTC, ending in `Z`
                 */
                renewsAt: string;
                reserved: number;
            };
            /** @enum {string} */
            plan: "free" | "pro" | "enterprise";
            storage: {
                /** @description Bytes of sized copies, which the quota does not count */
                copies: number;
                /** @description Bytes */
                quota: number;
                /** @description Bytes */
                used: number;
            };
        };
        User: {
            /**
             * Format: date-time
             * @description In UTC, ending in `Z`
             */
            createdAt: string;
            /**
             * Format: email
             * @description Null after somebody else has proved the address that this account only claimed
             */
            email: string | null;
            /** @description Whether the caller has proved to read its mail */
            emailVerified: boolean;
            /** Format: uuid */
            id: string;
            name: string | null;
        };
        UserExport: {
            /**
             * Format: date-time
             * @description When the file is deleted
             */
            expiresAt: string | null;
            /** @enum {string} */
            status: "pending" | "ready";
            /**
             * Format: uri
             * @description Of a JSON file; works for five minutes, and there are more
             */
            url: string | null;
        };
        WebhookDelivery: {
            /** @description With those that were put off, since the target had not answered lately */
            attempts: number;
            /**
             * Format: date-time
             * @description In UTC, ending in `Z`
             */
            createdAt: string;
            /**
             * Format: date-time
             * @description In UTC, ending in `Z`
             */
            deliveredAt: string | null;
            /**
             * Format: uuid
             * @description Null for a generation's own URL
             */
            endpointId: string | null;
            error: string | null;
            /**
             * Format: uuid
             * @description Sent as `webhook-id`
             */
            id: string;
            payload: components["schemas"]["WebhookMessage"];
            responseStatus: number | null;
            /** @enum {string} */
            status: "pending" | "delivered" | "failed";
            url: string;
        };
        WebhookEndpoint: {
            /**
             * Format: date-time
             * @description In UTC, ending in `Z`
             */
            createdAt: string;
            /** Format: uuid */
            createdBy: string | null;
            enabled: boolean;
            /** @description Empty means all but `progress` */
            events: ("queued" | "running" | "progress" | "provider.switched" | "succeeded" | "failed" | "canceled")[];
            /**
             * Format: date-time
             * @description In UTC, ending in `Z`
             */
            failingSince: string | null;
            /** Format: uuid */
            id: string;
            url: string;
        };
        /**
         * @example {
         *       "type": "generation.succeeded",
         *       "timestamp": "2026-01-31T12:00:09.000Z",
         *       "data": {
         *         "generationId": "0198c1de-6e1f-7c5a-9d35-0a4b6f2f7a11",
         *         "status": "succeeded",
         *         "progress": 100,
         *         "at": "2026-01-31T12:00:09.000Z"
         *       }
         *     }
         */
        WebhookMessage: {
            data: {
                /**
                 * Format: date-time
                 * @description In UTC, ending in `Z`
                 */
                at: string;
                /** Format: uuid */
                generationId: string;
                /** @description Percent */
                progress: number;
                /** @enum {string} */
                status: "queued" | "running" | "succeeded" | "failed" | "canceled";
            };
            /**
             * Format: date-time
             * @description In UTC, ending in `Z`
             */
            timestamp: string;
            /** @enum {string} */
            type: "generation.queued" | "generation.running" | "generation.progress" | "generation.provider.switched" | "generation.succeeded" | "generation.failed" | "generation.canceled";
        };
        Workspace: {
            /**
             * Format: date-time
             * @description In UTC, ending in `Z`
             */
            createdAt: string;
            /**
             * Format: date-time
             * @description An owner can restore it for 30 days from then on
             */
            deletedAt: string | null;
            /** Format: uuid */
            id: string;
            name: string;
            /** @enum {string} */
            plan: "free" | "pro" | "enterprise";
            /**
             * @description The caller's
             * @enum {string}
             */
            role: "viewer" | "member" | "admin" | "owner";
            /** @description Of its members */
            secondFactorRequired: boolean;
            slug: string;
            /**
             * Format: date-time
             * @description In UTC, ending in `Z`
             */
            updatedAt: string;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: {
        /** @description RFC 9110, section 11.6.1 */
        Challenge: string;
        /** @description Seconds */
        RetryAfter: number;
    };
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    "key.list": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The key set */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        keys: {
                            alg: string;
                            crv: string;
                            kid: string;
                            kty: string;
                            use: string;
                            x: string;
                        }[];
                    };
                };
            };
        };
    };
    "api_key.list": {
        parameters: {
            query?: {
                /** @description The `nextCursor` of the page before */
                cursor?: string;
                /** @description Entries of a page */
                limit?: number;
            };
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of keys */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: components["schemas"]["ApiKey"][];
                        nextCursor: string | null;
                    };
                };
            };
        };
    };
    "api_key.create": {
        parameters: {
            query?: never;
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "name": "shop server",
                 *       "scopes": [
                 *         "asset.create",
                 *         "generation.create",
                 *         "generation.get",
                 *         "generation.events"
                 *       ]
                 *     }
                 */
                "application/json": {
                    /**
                     * Format: date-time
                     * @description In UTC, ending in `Z`
                     */
                    expiresAt?: string;
                    name: string;
                    scopes: ("asset.begin" | "asset.check" | "asset.complete" | "asset.create" | "asset.delete" | "asset.download" | "asset.get" | "asset.lineage" | "asset.links" | "asset.list" | "asset.resume" | "asset.update" | "audit.export" | "audit.list" | "audit.verify" | "checkpoint.list" | "credit.list" | "event.list" | "export.create" | "export.list" | "generation.cancel" | "generation.create" | "generation.events" | "generation.get" | "generation.list" | "generation.quote" | "generation.retry" | "model.list" | "usage.get")[];
                };
            };
        };
        responses: {
            /** @description The key */
            201: {
                headers: {
                    Location?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ApiKey"] & {
                        key: string;
                    };
                };
            };
        };
    };
    "api_key.revoke": {
        parameters: {
            query?: never;
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Revoked */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "asset.list": {
        parameters: {
            query?: {
                /** @description The `nextCursor` of the page before */
                cursor?: string;
                kind?: "image" | "video" | "document";
                /** @description Entries of a page */
                limit?: number;
                /** @description Part of the name. Without three letters or digits in a row a page looks at 500 assets: it may have fewer than `limit`, or none, and a `nextCursor` */
                q?: string;
                /** @description In UTC, ending in `Z` */
                since?: string;
                source?: "upload" | "generation" | "export";
                status?: "pending" | "ready";
                tag?: string;
                /** @description Before it */
                until?: string;
            };
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of assets */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: components["schemas"]["Asset"][];
                        nextCursor: string | null;
                    };
                };
            };
        };
    };
    "asset.get": {
        parameters: {
            query?: never;
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The asset */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Asset"];
                };
            };
        };
    };
    "asset.delete": {
        parameters: {
            query?: never;
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Deleted */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "asset.update": {
        parameters: {
            query?: never;
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "name": "mug.jpg",
                 *       "tags": [
                 *         "spring"
                 *       ]
                 *     }
                 */
                "application/json": {
                    name?: string;
                    tags?: string[];
                };
            };
        };
        responses: {
            /** @description The asset */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Asset"];
                };
            };
        };
    };
    "asset.check": {
        parameters: {
            query?: {
                channel?: "amazon-main" | "google-merchant" | "shopify" | "instagram-feed" | "instagram-reel" | "tiktok" | "web";
            };
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Rule by rule, what was found and what is wanted */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ChannelChecks"];
                };
            };
        };
    };
    "asset.complete": {
        parameters: {
            query?: never;
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The asset */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Asset"];
                };
            };
        };
    };
    "asset.download": {
        parameters: {
            query?: {
                /** @description Pictures and films may be shown inline; others are attachments all the same */
                disposition?: "inline" | "attachment";
                /** @description Of a sized copy */
                format?: "webp" | "jpeg" | "png";
                width?: 64 | 160 | 320 | 640 | 1024 | 2048;
            };
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Where the file is, if JSON was asked for */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /**
                         * Format: date-time
                         * @description In UTC, ending in `Z`
                         */
                        expiresAt: string;
                        /**
                         * Format: uri
                         * @description For ten minutes at a time the same, so that it can be cached
                         */
                        url: string;
                    };
                };
            };
            /** @description To the file */
            302: {
                headers: {
                    Location?: string;
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "export.list": {
        parameters: {
            query?: {
                /** @description The `nextCursor` of the page before */
                cursor?: string;
                /** @description Entries of a page */
                limit?: number;
            };
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of exports */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: components["schemas"]["Export"][];
                        nextCursor: string | null;
                    };
                };
            };
        };
    };
    "export.create": {
        parameters: {
            query?: never;
            header?: {
                /** @description The caller's own word for this request: sent again with it, it is not done again */
                "idempotency-key"?: string;
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "channels": [
                 *         "web"
                 *       ]
                 *     }
                 */
                "application/json": {
                    channels: ("amazon-main" | "google-merchant" | "shopify" | "instagram-feed" | "instagram-reel" | "tiktok" | "web")[];
                };
            };
        };
        responses: {
            /** @description What is to be made */
            202: {
                headers: {
                    "Idempotent-Replayed"?: string;
                    Location?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: components["schemas"]["Export"][];
                    };
                };
            };
        };
    };
    "asset.lineage": {
        parameters: {
            query?: never;
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Its lineage */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Lineage"];
                };
            };
        };
    };
    "asset.resume": {
        parameters: {
            query?: never;
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The upload */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Upload"];
                };
            };
        };
    };
    "asset.links": {
        parameters: {
            query?: never;
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "ids": [
                 *         "0198c1de-6e1f-7c5a-9d35-0a4b6f2f7a11"
                 *       ],
                 *       "disposition": "inline"
                 *     }
                 */
                "application/json": {
                    /**
                     * @description Default `attachment`. Pictures and films may be shown inline; others are attachments all the same
                     * @enum {string}
                     */
                    disposition?: "inline" | "attachment";
                    ids: string[];
                };
            };
        };
        responses: {
            /** @description One for each id */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: {
                            /**
                             * Format: date-time
                             * @description In UTC, ending in `Z`
                             */
                            expiresAt?: string;
                            /** Format: uuid */
                            id: string;
                            problem?: {
                                code: components["schemas"]["ErrorCode"];
                                detail: string;
                            };
                            /**
                             * Format: uri
                             * @description For ten minutes at a time the same, so that it can be cached
                             */
                            url?: string;
                        }[];
                    };
                };
            };
        };
    };
    "asset.create": {
        parameters: {
            query?: {
                /** @description The file's name; default the form's, or `untitled` */
                name?: string;
            };
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/octet-stream": Blob;
                "application/pdf": Blob;
                "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": Blob;
                "application/vnd.openxmlformats-officedocument.wordprocessingml.document": Blob;
                "image/avif": Blob;
                "image/gif": Blob;
                "image/heic": Blob;
                "image/jpeg": Blob;
                "image/png": Blob;
                "image/webp": Blob;
                "multipart/form-data": {
                    /** Format: binary */
                    file: Blob;
                };
                "text/plain": Blob;
                "video/mp4": Blob;
                "video/webm": Blob;
            };
        };
        responses: {
            /** @description The asset */
            201: {
                headers: {
                    Location?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Asset"];
                };
            };
        };
    };
    "asset.begin": {
        parameters: {
            query?: never;
            header?: {
                /** @description The caller's own word for this request: sent again with it, it is not done again */
                "idempotency-key"?: string;
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "name": "film.mp4",
                 *       "mimeType": "video/mp4",
                 *       "size": 7340032
                 *     }
                 */
                "application/json": {
                    /** @description As the content will be */
                    mimeType: string;
                    name: string;
                    /** @description Hex; checked when the file is complete */
                    sha256?: string;
                    /** @description Bytes */
                    size: number;
                };
            };
        };
        responses: {
            /** @description The pending asset, and where to send it */
            201: {
                headers: {
                    "Idempotent-Replayed"?: string;
                    Location?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Upload"];
                };
            };
        };
    };
    "audit.list": {
        parameters: {
            query?: {
                action?: "access.refuse" | "api_key.create" | "api_key.list" | "api_key.revoke" | "asset.begin" | "asset.check" | "asset.complete" | "asset.create" | "asset.delete" | "asset.download" | "asset.expire" | "asset.get" | "asset.lineage" | "asset.links" | "asset.list" | "asset.lose" | "asset.resume" | "asset.update" | "audit.export" | "audit.list" | "audit.verify" | "budget.update" | "checkpoint.list" | "credit.hold" | "credit.list" | "credit.release" | "email.change" | "email.confirm" | "email.lose" | "email.undo" | "email.verify" | "event.list" | "export.create" | "export.finish" | "export.list" | "factor.get" | "generation.cancel" | "generation.create" | "generation.events" | "generation.fail" | "generation.get" | "generation.list" | "generation.quote" | "generation.retry" | "generation.succeed" | "invite.accept" | "invite.create" | "invite.delete" | "invite.list" | "member.list" | "member.remove" | "member.update" | "model.list" | "passkey.create" | "passkey.delete" | "passkey.list" | "passkey.prepare" | "password.confirm" | "password.reset" | "password.update" | "recovery_code.create" | "session.assert" | "session.confirm" | "session.create" | "session.delete" | "session.list" | "session.prepare" | "session.prove" | "session.refresh" | "session.refuse" | "session.revoke" | "totp.confirm" | "totp.create" | "totp.delete" | "usage.get" | "user.create" | "user.delete" | "user.erase" | "user.export" | "user.get" | "user.link" | "user.restore" | "user.update" | "workspace.create" | "workspace.delete" | "workspace.get" | "workspace.list" | "workspace.purge" | "workspace.restore" | "workspace.transfer" | "workspace.update" | "delivery.list" | "delivery.resend" | "webhook.create" | "webhook.delete" | "webhook.list" | "webhook.secret" | "webhook.update";
                actorId?: string;
                /** @description The `nextCursor` of the page before */
                cursor?: string;
                /** @description Entries of a page */
                limit?: number;
                resourceId?: string;
                resourceType?: string;
                /** @description In UTC, ending in `Z` */
                since?: string;
                /** @description In UTC, ending in `Z` */
                until?: string;
            };
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of entries */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: components["schemas"]["AuditEntry"][];
                        nextCursor: string | null;
                    };
                };
            };
        };
    };
    "checkpoint.list": {
        parameters: {
            query?: {
                /** @description The `nextCursor` of the page before */
                cursor?: string;
                /** @description Entries of a page */
                limit?: number;
            };
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of checkpoints */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: components["schemas"]["AuditCheckpoint"][];
                        nextCursor: string | null;
                    };
                };
            };
        };
    };
    "audit.export": {
        parameters: {
            query?: {
                action?: "access.refuse" | "api_key.create" | "api_key.list" | "api_key.revoke" | "asset.begin" | "asset.check" | "asset.complete" | "asset.create" | "asset.delete" | "asset.download" | "asset.expire" | "asset.get" | "asset.lineage" | "asset.links" | "asset.list" | "asset.lose" | "asset.resume" | "asset.update" | "audit.export" | "audit.list" | "audit.verify" | "budget.update" | "checkpoint.list" | "credit.hold" | "credit.list" | "credit.release" | "email.change" | "email.confirm" | "email.lose" | "email.undo" | "email.verify" | "event.list" | "export.create" | "export.finish" | "export.list" | "factor.get" | "generation.cancel" | "generation.create" | "generation.events" | "generation.fail" | "generation.get" | "generation.list" | "generation.quote" | "generation.retry" | "generation.succeed" | "invite.accept" | "invite.create" | "invite.delete" | "invite.list" | "member.list" | "member.remove" | "member.update" | "model.list" | "passkey.create" | "passkey.delete" | "passkey.list" | "passkey.prepare" | "password.confirm" | "password.reset" | "password.update" | "recovery_code.create" | "session.assert" | "session.confirm" | "session.create" | "session.delete" | "session.list" | "session.prepare" | "session.prove" | "session.refresh" | "session.refuse" | "session.revoke" | "totp.confirm" | "totp.create" | "totp.delete" | "usage.get" | "user.create" | "user.delete" | "user.erase" | "user.export" | "user.get" | "user.link" | "user.restore" | "user.update" | "workspace.create" | "workspace.delete" | "workspace.get" | "workspace.list" | "workspace.purge" | "workspace.restore" | "workspace.transfer" | "workspace.update" | "delivery.list" | "delivery.resend" | "webhook.create" | "webhook.delete" | "webhook.list" | "webhook.secret" | "webhook.update";
                actorId?: string;
                resourceId?: string;
                resourceType?: string;
                /** @description In UTC, ending in `Z` */
                since?: string;
                /** @description In UTC, ending in `Z` */
                until?: string;
            };
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description One entry a line */
            200: {
                headers: {
                    "Content-Disposition"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/x-ndjson": string;
                };
            };
        };
    };
    "audit.verify": {
        parameters: {
            query?: {
                /** @description The `signature` of a checkpoint, to hold the log against */
                checkpoint?: string;
                /** @description Only entries after this sequence */
                since?: number;
            };
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The verdict */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /**
                         * Format: uuid
                         * @description The first entry that was changed, that follows a missing one, or that is not what its checkpoint says: then the change lies before it
                         */
                        brokenAt: string | null;
                        /** @description Whether the log has the entry that the checkpoint in the query signs; null if that may be pruned */
                        checkpointMatches: boolean | null;
                        /** @description Looked at */
                        entries: number;
                        /** @description Sequence of the first checkpoint whose signature does not fit */
                        forgedCheckpoint: number | null;
                        /** @description `since` of the request that goes on; null at the end */
                        next: number | null;
                        /** @description Entries are missing from the end */
                        truncated: boolean;
                        /** @description Of what was looked at: the whole log, once `next` is null */
                        valid: boolean;
                        /** @description Sequence of the last entry that holds */
                        verifiedTo: number;
                    };
                };
            };
        };
    };
    "email.change": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "email": "ann@example.com"
                 *     }
                 */
                "application/json": {
                    /** Format: email */
                    email: string;
                };
            };
        };
        responses: {
            /** @description Accepted */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "email.undo": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "token": "mNn0Zr0lq4Gl2yqXx8Qm3y0hKf5vQy7dW1tB9cE6uA4"
                 *     }
                 */
                "application/json": {
                    token: string;
                };
            };
        };
        responses: {
            /** @description Undone */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "email.verify": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Accepted */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "email.confirm": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "token": "mNn0Zr0lq4Gl2yqXx8Qm3y0hKf5vQy7dW1tB9cE6uA4"
                 *     }
                 */
                "application/json": {
                    code?: string;
                    token?: string;
                };
            };
        };
        responses: {
            /** @description The caller */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["User"] & {
                        /**
                         * @description The address that has to be proved, too, before a change takes effect
                         * @enum {string|null}
                         */
                        awaits: "current" | "new" | null;
                    };
                };
            };
        };
    };
    "session.create": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "email": "ann@example.com",
                 *       "password": "one picture, one store"
                 *     }
                 */
                "application/json": {
                    device_token?: string;
                    /** Format: email */
                    email: string;
                    password: string;
                };
            };
        };
        responses: {
            /** @description The tokens */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SignedIn"];
                };
            };
            /** @description The password is right, and a second factor is asked for: `POST /auth/login/mfa` */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SecondStep"];
                };
            };
        };
    };
    "session.confirm": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "mfa_token": "the one of the first step",
                 *       "code": "123456"
                 *     }
                 */
                "application/json": {
                    code?: string;
                    mfa_token: string;
                    passkey?: components["schemas"]["AuthenticationResponseJSON"];
                };
            };
        };
        responses: {
            /** @description The tokens */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SignedIn"];
                };
            };
        };
    };
    "session.assert": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "passkey": {
                 *         "id": "AbVhw3Vb0kK0n3o3a0b1Lg",
                 *         "type": "public-key",
                 *         "response": {
                 *           "clientDataJSON": "eyJ0eXBlIjoid2ViYXV0aG4uZ2V0In0",
                 *           "authenticatorData": "SZYN5YgOjGh0NBcPZHZgW4_krrmihjLHmVzzuoMdl2MFAAAAAQ",
                 *           "signature": "MEUCIQDl"
                 *         }
                 *       }
                 *     }
                 */
                "application/json": {
                    passkey: components["schemas"]["AuthenticationResponseJSON"];
                };
            };
        };
        responses: {
            /** @description The tokens */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SignedIn"];
                };
            };
        };
    };
    "session.prepare": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The options */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PublicKeyCredentialRequestOptionsJSON"];
                };
            };
        };
    };
    "session.revoke": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Signed out */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "user.get": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The caller */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["User"] & {
                        /** @description Mail to the address has come back: none is sent there for 30 days */
                        emailBounced: boolean;
                        workspaces: {
                            /** Format: uuid */
                            id: string;
                            name: string;
                            /** @enum {string} */
                            role: "viewer" | "member" | "admin" | "owner";
                            slug: string;
                        }[];
                    };
                };
            };
        };
    };
    "user.delete": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Accepted */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /**
                         * Format: date-time
                         * @description When the account goes, unless its person signs in before
                         */
                        deletesAt: string;
                    };
                };
            };
        };
    };
    "user.update": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "name": "Ann"
                 *     }
                 */
                "application/json": {
                    name: string;
                };
            };
        };
        responses: {
            /** @description The caller */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["User"];
                };
            };
        };
    };
    "user.export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The file is there */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UserExport"];
                };
            };
            /** @description It is being made */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UserExport"];
                };
            };
        };
    };
    "factor.get": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description What the caller has */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Factors"];
                };
            };
        };
    };
    "totp.delete": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Turned off, also if it was off */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "recovery_code.create": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The codes */
            201: {
                headers: {
                    Location?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** @description Each signs in once, in the place of a lost factor. They are shown this once: keep them safe. */
                        recoveryCodes: string[];
                    };
                };
            };
        };
    };
    "totp.create": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The secret, which is shown this once */
            201: {
                headers: {
                    Location?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** @description To be shown as a QR code */
                        otpauthUrl: string;
                        /** @description Base32, to be typed */
                        secret: string;
                    };
                };
            };
        };
    };
    "totp.confirm": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "code": "123456"
                 *     }
                 */
                "application/json": {
                    code: string;
                };
            };
        };
        responses: {
            /** @description Turned on */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** @description To be kept by the device, in the place of an earlier one, and sent along when it signs in again: strangers who try passwords then do not slow it down */
                        device_token: string;
                        /** @description Each signs in once, in the place of a lost factor. They are shown this once: keep them safe. */
                        recoveryCodes: string[];
                    };
                };
            };
        };
    };
    "passkey.list": {
        parameters: {
            query?: {
                /** @description The `nextCursor` of the page before */
                cursor?: string;
                /** @description Entries of a page */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of passkeys */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: components["schemas"]["Passkey"][];
                        nextCursor: string | null;
                    };
                };
            };
        };
    };
    "passkey.create": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "name": "Laptop",
                 *       "passkey": {
                 *         "id": "AbVhw3Vb0kK0n3o3a0b1Lg",
                 *         "type": "public-key",
                 *         "response": {
                 *           "clientDataJSON": "eyJ0eXBlIjoid2ViYXV0aG4uZ2V0In0",
                 *           "attestationObject": "o2NmbXRkbm9uZQ"
                 *         }
                 *       }
                 *     }
                 */
                "application/json": {
                    name?: string;
                    passkey: components["schemas"]["RegistrationResponseJSON"];
                };
            };
        };
        responses: {
            /** @description The passkey */
            201: {
                headers: {
                    Location?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** @description Kept beyond its device, such as in a password manager */
                        backedUp: boolean;
                        /**
                         * Format: date-time
                         * @description In UTC, ending in `Z`
                         */
                        createdAt: string;
                        /** @description To be kept by the device, in the place of an earlier one, and sent along when it signs in again: strangers who try passwords then do not slow it down */
                        device_token: string;
                        /** Format: uuid */
                        id: string;
                        /**
                         * Format: date-time
                         * @description In UTC, ending in `Z`
                         */
                        lastUsedAt: string | null;
                        name: string;
                        /** @description Each signs in once, in the place of a lost factor. They are shown this once: keep them safe. */
                        recoveryCodes?: string[];
                    };
                };
            };
        };
    };
    "passkey.delete": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Deleted */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "passkey.prepare": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The options */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PublicKeyCredentialCreationOptionsJSON"];
                };
            };
        };
    };
    "password.update": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "currentPassword": "one picture, one store",
                 *       "newPassword": "many pictures, many stores"
                 *     }
                 */
                "application/json": {
                    currentPassword: string;
                    newPassword: string;
                };
            };
        };
        responses: {
            /** @description Changed */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** @description To be kept by the device, in the place of an earlier one, and sent along when it signs in again: strangers who try passwords then do not slow it down */
                        device_token: string;
                    };
                };
            };
        };
    };
    "password.reset": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "email": "ann@example.com"
                 *     }
                 */
                "application/json": {
                    device_token?: string;
                    /** Format: email */
                    email: string;
                };
            };
        };
        responses: {
            /** @description Accepted */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "password.confirm": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "token": "mNn0Zr0lq4Gl2yqXx8Qm3y0hKf5vQy7dW1tB9cE6uA4",
                 *       "newPassword": "another picture, another store"
                 *     }
                 */
                "application/json": {
                    device_token?: string;
                    newPassword: string;
                    token: string;
                };
            };
        };
        responses: {
            /** @description Set */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /**
                         * Format: date-time
                         * @description When the account goes, unless its person signs in before; null of one that stays
                         */
                        deletesAt: string | null;
                        /** @description To be kept by the device, in the place of an earlier one, and sent along when it signs in again: strangers who try passwords then do not slow it down */
                        device_token: string;
                    };
                };
            };
        };
    };
    "session.refresh": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "refresh_token": "the one of the last answer"
                 *     }
                 */
                "application/json": {
                    refresh_token: string;
                };
            };
        };
        responses: {
            /** @description The tokens */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Tokens"];
                };
            };
        };
    };
    "user.create": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "email": "ann@example.com",
                 *       "password": "one picture, one store",
                 *       "name": "Ann"
                 *     }
                 */
                "application/json": {
                    /** Format: email */
                    email: string;
                    name?: string;
                    password: string;
                };
            };
        };
        responses: {
            /** @description The user, signed in */
            201: {
                headers: {
                    Location?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        access_token: string;
                        /** @description To be kept by the device, in the place of an earlier one, and sent along when it signs in again: strangers who try passwords then do not slow it down */
                        device_token: string;
                        /** @description Seconds */
                        expires_in: number;
                        refresh_token: string;
                        /** @enum {string} */
                        token_type: "Bearer";
                        user: components["schemas"]["User"];
                    };
                };
            };
        };
    };
    "session.list": {
        parameters: {
            query?: {
                /** @description The `nextCursor` of the page before */
                cursor?: string;
                /** @description Entries of a page */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of sessions */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: components["schemas"]["Session"][];
                        nextCursor: string | null;
                    };
                };
            };
        };
    };
    "session.delete": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Revoked */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "session.prove": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "password": "one picture, one store"
                 *     }
                 */
                "application/json": {
                    code?: string;
                    passkey?: components["schemas"]["AuthenticationResponseJSON"];
                    password?: string;
                };
            };
        };
        responses: {
            /** @description Proved */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "credit.list": {
        parameters: {
            query?: {
                /** @description The `nextCursor` of the page before */
                cursor?: string;
                /** @description Entries of a page */
                limit?: number;
            };
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of entries */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: components["schemas"]["CreditEntry"][];
                        nextCursor: string | null;
                    };
                };
            };
        };
    };
    "event.list": {
        parameters: {
            query?: never;
            header?: {
                /** @description The last event that arrived: the stream goes on after it; one that is not there yet counts as none */
                "last-event-id"?: string;
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Server-sent events, whose `event` is one of `queued`, `running`, `progress`, `provider.switched`, `succeeded`, `failed`, `canceled`, whose `id` is a number for `Last-Event-ID`, and whose `data` is a GenerationEvent as JSON. Comments keep the stream open. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": string;
                };
            };
            /** @description Nothing more will come: the last event was the one named in Last-Event-ID */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "generation.list": {
        parameters: {
            query?: {
                /** @description The `nextCursor` of the page before */
                cursor?: string;
                kind?: "image" | "video";
                /** @description Entries of a page */
                limit?: number;
                /** @description In UTC, ending in `Z` */
                since?: string;
                status?: "queued" | "running" | "succeeded" | "failed" | "canceled";
                task?: "scene" | "cutout" | "packshot" | "upscale" | "expand" | "animate";
                /** @description In UTC, ending in `Z` */
                until?: string;
            };
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of generations */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: components["schemas"]["Generation"][];
                        nextCursor: string | null;
                    };
                };
            };
        };
    };
    "generation.create": {
        parameters: {
            query?: never;
            header?: {
                /** @description The caller's own word for this request: sent again with it, it is not done again */
                "idempotency-key"?: string;
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "task": "scene",
                 *       "prompt": "On a breakfast table by the window",
                 *       "style": "luxury",
                 *       "inputAssetIds": [
                 *         "0198c1de-6e1f-7c5a-9d35-0a4b6f2f7a11"
                 *       ]
                 *     }
                 */
                "application/json": components["schemas"]["GenerationInput"];
            };
        };
        responses: {
            /** @description The job */
            202: {
                headers: {
                    "Idempotent-Replayed"?: string;
                    Location?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Generation"];
                };
            };
        };
    };
    "generation.get": {
        parameters: {
            query?: never;
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The generation */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Generation"];
                };
            };
        };
    };
    "generation.cancel": {
        parameters: {
            query?: never;
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The generation */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Generation"];
                };
            };
        };
    };
    "generation.events": {
        parameters: {
            query?: never;
            header?: {
                /** @description The last event that arrived: the stream goes on after it; one that is not there yet counts as none */
                "last-event-id"?: string;
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Server-sent events, whose `event` is one of `queued`, `running`, `progress`, `provider.switched`, `succeeded`, `failed`, `canceled`, whose `id` is a number for `Last-Event-ID`, and whose `data` is a GenerationEvent as JSON. Comments keep the stream open. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": string;
                };
            };
            /** @description Nothing more will come: the last event was the one named in Last-Event-ID */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "generation.retry": {
        parameters: {
            query?: never;
            header?: {
                /** @description The caller's own word for this request: sent again with it, it is not done again */
                "idempotency-key"?: string;
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The new job */
            202: {
                headers: {
                    "Idempotent-Replayed"?: string;
                    Location?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Generation"];
                };
            };
        };
    };
    "generation.quote": {
        parameters: {
            query?: never;
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "task": "scene",
                 *       "prompt": "On a breakfast table by the window",
                 *       "style": "luxury",
                 *       "inputAssetIds": [
                 *         "0198c1de-6e1f-7c5a-9d35-0a4b6f2f7a11"
                 *       ]
                 *     }
                 */
                "application/json": components["schemas"]["GenerationInput"];
            };
        };
        responses: {
            /** @description The quote */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Quote"];
                };
            };
        };
    };
    "model.list": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description All models */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: components["schemas"]["Model"][];
                        nextCursor: null;
                    };
                };
            };
        };
    };
    "usage.get": {
        parameters: {
            query?: never;
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The usage */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Usage"];
                };
            };
        };
    };
    "webhook.list": {
        parameters: {
            query?: {
                /** @description The `nextCursor` of the page before */
                cursor?: string;
                /** @description Entries of a page */
                limit?: number;
            };
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of endpoints */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: components["schemas"]["WebhookEndpoint"][];
                        nextCursor: string | null;
                    };
                };
            };
        };
    };
    "webhook.create": {
        parameters: {
            query?: never;
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "url": "https://shop.example.com/hooks",
                 *       "events": [
                 *         "succeeded",
                 *         "failed"
                 *       ]
                 *     }
                 */
                "application/json": {
                    /** @description Default none. Empty means all but `progress` */
                    events?: ("queued" | "running" | "progress" | "provider.switched" | "succeeded" | "failed" | "canceled")[];
                    url: string;
                };
            };
        };
        responses: {
            /** @description The endpoint */
            201: {
                headers: {
                    Location?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WebhookEndpoint"] & {
                        secret: string;
                    };
                };
            };
        };
    };
    "webhook.delete": {
        parameters: {
            query?: never;
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Deleted */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "webhook.update": {
        parameters: {
            query?: never;
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "enabled": false
                 *     }
                 */
                "application/json": {
                    enabled?: boolean;
                    /** @description Empty means all but `progress` */
                    events?: ("queued" | "running" | "progress" | "provider.switched" | "succeeded" | "failed" | "canceled")[];
                    url?: string;
                };
            };
        };
        responses: {
            /** @description The endpoint */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WebhookEndpoint"];
                };
            };
        };
    };
    "delivery.list": {
        parameters: {
            query?: {
                /** @description The `nextCursor` of the page before */
                cursor?: string;
                endpointId?: string;
                /** @description Entries of a page */
                limit?: number;
                status?: "pending" | "delivered" | "failed";
            };
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of deliveries */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: components["schemas"]["WebhookDelivery"][];
                        nextCursor: string | null;
                    };
                };
            };
        };
    };
    "delivery.resend": {
        parameters: {
            query?: never;
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The delivery */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WebhookDelivery"];
                };
            };
        };
    };
    "webhook.secret": {
        parameters: {
            query?: never;
            header?: {
                /** @description Id of the workspace; may be left out by those who belong to exactly one. */
                "X-Workspace-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The secret */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        secret: string;
                    };
                };
            };
        };
    };
    "workspace.list": {
        parameters: {
            query?: {
                /** @description The `nextCursor` of the page before */
                cursor?: string;
                /** @description `true`: instead those that the caller owns and can restore */
                deleted?: "true" | "false";
                /** @description Entries of a page */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of workspaces */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: components["schemas"]["Workspace"][];
                        nextCursor: string | null;
                    };
                };
            };
        };
    };
    "workspace.create": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "name": "Mugs and More"
                 *     }
                 */
                "application/json": {
                    name: string;
                    slug?: string;
                };
            };
        };
        responses: {
            /** @description The workspace */
            201: {
                headers: {
                    Location?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Workspace"];
                };
            };
        };
    };
    "workspace.get": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The workspace */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Workspace"];
                };
            };
        };
    };
    "workspace.delete": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Deleted */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "workspace.update": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "name": "Mugs and More"
                 *     }
                 */
                "application/json": {
                    name?: string;
                    secondFactorRequired?: boolean;
                    slug?: string;
                };
            };
        };
        responses: {
            /** @description The workspace */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Workspace"];
                };
            };
        };
    };
    "invite.list": {
        parameters: {
            query?: {
                /** @description The `nextCursor` of the page before */
                cursor?: string;
                /** @description Entries of a page */
                limit?: number;
            };
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of invites */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: components["schemas"]["Invite"][];
                        nextCursor: string | null;
                    };
                };
            };
        };
    };
    "invite.create": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "email": "bob@example.com",
                 *       "role": "member"
                 *     }
                 */
                "application/json": {
                    /** Format: email */
                    email: string;
                    /** @enum {string} */
                    role: "viewer" | "member" | "admin" | "owner";
                };
            };
        };
        responses: {
            /** @description The invite */
            201: {
                headers: {
                    Location?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Invite"] & {
                        /** @description Whether this invite is mailed: not by whoever has not proved their own address, and not beyond 5 invites an hour and 20 a day to one address, or 100 mails a day that are caused from one network */
                        mailed: boolean;
                        token: string;
                    };
                };
            };
        };
    };
    "invite.delete": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
                inviteId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Withdrawn */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "member.list": {
        parameters: {
            query?: {
                /** @description The `nextCursor` of the page before */
                cursor?: string;
                /** @description Entries of a page */
                limit?: number;
            };
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of members */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        data: components["schemas"]["Member"][];
                        nextCursor: string | null;
                    };
                };
            };
        };
    };
    "member.remove": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
                userId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Removed */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "member.update": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
                userId: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "role": "viewer"
                 *     }
                 */
                "application/json": {
                    /** @enum {string} */
                    role: "viewer" | "member" | "admin" | "owner";
                };
            };
        };
        responses: {
            /** @description The member */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Member"];
                };
            };
        };
    };
    "workspace.restore": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The workspace */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Workspace"];
                };
            };
        };
    };
    "workspace.transfer": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "userId": "0198c1de-6e1f-7c5a-9d35-0a4b6f2f7a11"
                 *     }
                 */
                "application/json": {
                    /** Format: uuid */
                    userId: string;
                };
            };
        };
        responses: {
            /** @description Transferred */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    "invite.accept": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "token": "the one that the invite was made with"
                 *     }
                 */
                "application/json": {
                    token: string;
                };
            };
        };
        responses: {
            /** @description The workspace */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Workspace"];
                };
            };
        };
    };
    "health.get": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Up */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        /** @enum {string} */
                        status: "ok";
                    };
                };
            };
        };
    };
    "health.ready": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Ready or degraded */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Readiness"];
                };
            };
        };
    };
    "webhook.message": {
        parameters: {
            query?: never;
            header: {
                /** @description The same when it comes twice */
                "webhook-id": string;
                /** @description `v1,` and an HMAC-SHA256 in base64, or several of them */
                "webhook-signature": string;
                /** @description Seconds since 1970 */
                "webhook-timestamp": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["WebhookMessage"];
            };
        };
        responses: {
            /** @description Taken */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Wanted no more: the endpoint is disabled */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
}
