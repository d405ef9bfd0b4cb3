export function sessionTickets(url: string, csrf: string): () => Promise<string>;
export function tokenTickets(url: string | URL, getToken: (renew: boolean) => string | Promise<string>): (renew: boolean) => Promise<string>;
