// SPDX-License-Identifier: MIT
pragma solidity ^0.8.34;

/**
 * @title IERC20Registrable
 * @notice Each account registers once, under a name, and is granted some tokens while the budget for grants lasts.
 *
 * Names are labels, not identities: two accounts may have the same one. The budget bounds what somebody with many
 * accounts can take; the grant of the account that finds less left than a full one is what is left, and 0 after it.
 */
interface IERC20Registrable {
    /// @notice What registration grants, in the token's smallest unit.
    /// @param amount Per account.
    /// @param budget To all accounts together.
    struct Grants {
        uint256 amount;
        uint256 budget;
    }

    /// @notice `account` registered as `name` and was granted `grant`, for which an ERC-20 `Transfer` is emitted too.
    event Registered(address indexed account, string name, uint256 grant, uint256 sequence);

    /// @notice `account` is registered already.
    error AlreadyRegistered(address account);

    /// @notice A name has 1 to 32 bytes, each one of a-z, 0-9, `-` and `_`; `name` does not.
    error InvalidName(string name);

    /// @notice The signature was valid until `deadline`, which is past.
    error RegistrationExpired(uint256 deadline);

    /// @notice `signature` is not one of `account` for this registration and its present nonce.
    error InvalidRegistrationSignature(address account, bytes signature);

    /// @notice Registers the caller as `name`.
    function register(string calldata name) external;

    /**
     * @notice Registers `account` as `name` for whoever pays the gas, on the account's signature.
     *
     * Signed is the EIP-712 struct `Registration(address account,string name,uint256 nonce,uint256 deadline)` in the
     * token's domain, with the nonce that `nonces(account)` tells (the one that permits use, too). Smart accounts sign
     * by ERC-1271.
     */
    function registerFor(address account, string calldata name, uint256 deadline, bytes calldata signature) external;

    /// @notice Whether `account` is registered.
    function isRegistered(address account) external view returns (bool);

    /// @notice The name of `account`, empty if it is not registered.
    function nameOf(address account) external view returns (string memory);

    /// @notice What the next registration is granted, at this moment.
    function grant() external view returns (uint256);

    /// @notice What is left of the budget for grants.
    function grantBudget() external view returns (uint256);
}
