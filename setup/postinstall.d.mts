export function bindingInstalled(): boolean;
export function bindingLoads(): boolean;
export function installBinding(): boolean;
export function linkPostgres(): void;
