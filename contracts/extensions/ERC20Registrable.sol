// SPDX-License-Identifier: MIT
pragma solidity ^0.8.34;

import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {IERC20Registrable} from "../interfaces/IERC20Registrable.sol";
import {Sequenced} from "./Sequenced.sol";

/**
 * @dev Registration with a grant. It is gated against pausing by itself, because a registration whose grant is 0 moves
 * no token and would pass the gate of transfers.
 */
abstract contract ERC20Registrable is IERC20Registrable, ERC20Capped, Pausable, EIP712, Nonces, Sequenced {
    bytes32 private constant REGISTRATION_TYPEHASH = keccak256(
        "Registration(address account,string name,uint256 nonce,uint256 deadline)"
    );

    uint256 private immutable _grantAmount;

    uint256 private _grantBudget;

    /// @dev A name is at most 32 bytes and holds no zero byte, so it needs one slot and no length.
    mapping(address account => bytes32) private _names;

    constructor(Grants memory grants) {
        _grantAmount = grants.amount;
        _grantBudget = grants.budget;
    }

    /// @inheritdoc IERC20Registrable
    function register(string calldata name_) public virtual {
        _register(_msgSender(), name_);
    }

    /// @inheritdoc IERC20Registrable
    function registerFor(
        address account,
        string calldata name_,
        uint256 deadline,
        bytes calldata signature
    ) public virtual {
        if (block.timestamp > deadline) revert RegistrationExpired(deadline);

        bytes32 structHash = keccak256(
            abi.encode(REGISTRATION_TYPEHASH, account, keccak256(bytes(name_)), _useNonce(account), deadline)
        );
        if (!SignatureChecker.isValidSignatureNowCalldata(account, _hashTypedDataV4(structHash), signature)) {
            revert InvalidRegistrationSignature(account, signature);
        }
        _register(account, name_);
    }

    /// @inheritdoc IERC20Registrable
    function isRegistered(address account) public view virtual returns (bool) {
        return _names[account] != 0;
    }

    /// @inheritdoc IERC20Registrable
    function nameOf(address account) public view virtual returns (string memory) {
        bytes32 packed = _names[account];
        uint256 length = 0;
        while (length < 32 && packed[length] != 0) ++length;

        bytes memory unpacked = new bytes(length);
        for (uint256 i = 0; i < length; ++i) unpacked[i] = packed[i];
        return string(unpacked);
    }

    /// @inheritdoc IERC20Registrable
    function grant() public view virtual returns (uint256) {
        return Math.min(Math.min(_grantAmount, _grantBudget), cap() - totalSupply());
    }

    /// @inheritdoc IERC20Registrable
    function grantBudget() public view virtual returns (uint256) {
        return _grantBudget;
    }

    function _register(address account, string calldata name_) private whenNotPaused {
        if (isRegistered(account)) revert AlreadyRegistered(account);
        if (!_isValidName(bytes(name_))) revert InvalidName(name_);

        // Bytes past the end of a shorter name are zero.
        _names[account] = bytes32(bytes(name_));

        uint256 granted = grant();
        if (granted > 0) {
            _grantBudget -= granted;
            _mint(account, granted);
        }
        emit Registered(account, name_, granted, _nextSequence());
    }

    function _isValidName(bytes calldata name_) private pure returns (bool) {
        if (name_.length == 0 || name_.length > 32) return false;
        for (uint256 i = 0; i < name_.length; ++i) {
            bytes1 c = name_[i];
            bool letter = c >= "a" && c <= "z";
            bool digit = c >= "0" && c <= "9";
            if (!letter && !digit && c != "-" && c != "_") return false;
        }
        return true;
    }
}
