// A passkey of this page: the device makes it, keeps it, and checks the person at each signature.

import { toBytes, toText } from "./codec.js";
import { Problem } from "./service.js";

const ES256 = -7;
const COORDINATE = 32;
const TIMEOUT_MS = 120_000;

export async function create(settings) {
  requirePasskeys();
  const made = await asked(() => navigator.credentials.create({
    publicKey: {
      rp: { id: settings.rp_id, name: settings.domain },
      user: {
        id: crypto.getRandomValues(new Uint8Array(32)),
        name: settings.domain,
        displayName: settings.domain,
      },
      challenge: crypto.getRandomValues(new Uint8Array(32)),
      pubKeyCredParams: [{ type: "public-key", alg: ES256 }],
      authenticatorSelection: { residentKey: "preferred", userVerification: "required" },
      attestation: "none",
      timeout: TIMEOUT_MS,
    },
  }));
  const spki = made.response.getPublicKeyAlgorithm() === ES256 && made.response.getPublicKey();
  if (!spki) throw new Problem("NO_PASSKEYS");
  // The key stands at the end: x, then y (RFC 5480, section 2.2).
  const [x, y] = [spki.slice(-2 * COORDINATE, -COORDINATE), spki.slice(-COORDINATE)];
  return { id: toText(made.rawId), jwk: { crv: "P-256", kty: "EC", x: toText(x), y: toText(y) } };
}

// The signature over a draft: its challenge is the digest of its document.
export async function sign(settings, key, draft) {
  requirePasskeys();
  const { response } = await asked(() => navigator.credentials.get({
    publicKey: {
      rpId: settings.rp_id,
      challenge: toBytes(draft.challenge),
      allowCredentials: [{ type: "public-key", id: toBytes(key.id) }],
      userVerification: "required",
      timeout: TIMEOUT_MS,
    },
  }));
  return {
    document: draft.document,
    key: key.jwk,
    assertion: {
      authenticator_data: toText(response.authenticatorData),
      client_data: toText(response.clientDataJSON),
      signature: toText(response.signature),
    },
  };
}

function requirePasskeys() {
  if (!window.PublicKeyCredential) throw new Problem("NO_PASSKEYS");
}

async function asked(work) {
  try {
    return await work();
  } catch (error) {
    throw new Problem(error.name === "NotAllowedError" ? "NOT_VERIFIED" : "NO_PASSKEYS");
  }
}
