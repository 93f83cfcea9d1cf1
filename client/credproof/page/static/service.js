// Calls to the page's own server. What goes wrong is a Problem with a stable reason.

export class Problem extends Error {
  constructor(reason, message = "") {
    super(message);
    this.reason = reason;
  }
}

export async function settings() {
  return answer(await reached("/api/settings"));
}

export async function post(name, value) {
  return answer(await reached(`/api/${name}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(value),
  }));
}

async function reached(path, options = {}) {
  try {
    return await fetch(path, { credentials: "omit", cache: "no-store", ...options });
  } catch {
    throw new Problem("NO_ANSWER");
  }
}

async function answer(response) {
  const value = await response.json().catch(() => ({ reason: "NO_ANSWER", message: "" }));
  if (!response.ok) throw new Problem(value.reason, value.message);
  return value;
}
