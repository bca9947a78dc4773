// SPDX-License-Identifier: MIT
pragma solidity ^0.8.34;

/**
 * @title IERC20RolePausable
 * @notice An emergency brake with two keys: who may stop the token need not be able to start it again.
 *
 * While paused nothing moves and nothing is promised: no transfer, mint, mining, registration, approval or permit.
 * Reads go on, and so does administration, because whoever repairs the cause needs it. The events `Paused(account)` and
 * `Unpaused(account)` are OpenZeppelin's and name who did it.
 */
interface IERC20RolePausable {
    /// @notice Stops the token. The caller needs the pauser role; it must not be paused already.
    function pause() external;

    /// @notice Starts the token again. The caller needs the unpauser role; it must be paused.
    function unpause() external;
}
